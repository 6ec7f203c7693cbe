import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { connect, Problem } from "./api/client";
import "./app.css";
import { Dashboard } from "./parts/context";
import { Stop } from "./parts/states";
import { router } from "./router";
import { Session } from "./session";
import { loadSettings } from "./settings";

const root = createRoot(document.getElementById("root") as HTMLElement);

async function begin(): Promise<void> {
  const settings = await loadSettings();
  const session = new Session(settings);
  const api = connect(settings.api, session.token);
  const failed = (error: unknown) => {
    if (error instanceof Problem && error.kind === "expired") session.expire();
  };
  const queries = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 15_000,
        networkMode: "always", // the API may be reachable where the network is not
        retry: (count, error) => {
          failed(error);
          return count < 2 && error instanceof Problem && (error.kind === "busy" || error.kind === "failed");
        },
      },
      mutations: { networkMode: "always", onError: failed },
    },
  });
  // Nothing that one person saw is left for the next.
  session.subscribe(() => session.current() === null || queries.clear());
  root.render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Dashboard value={{ settings, session, api }}>
          <RouterProvider router={router} />
        </Dashboard>
      </QueryClientProvider>
    </StrictMode>,
  );
}

begin().catch(() => {
  root.render(
    <main className="alone">
      <Stop title="The dashboard cannot start">
        <p>Its settings could not be read. Is the stack up? Reload the page to try again.</p>
      </Stop>
    </main>,
  );
});
