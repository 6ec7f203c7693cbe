/** Calls of the API by its generated types, with the session's token; what goes wrong becomes one kind of error. */

import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Order = Schemas["orders.item"];
export type OrderTree = Schemas["orders.read"];
export type Invoice = Schemas["invoices.item"];
export type InvoiceLine = Schemas["invoice_lines.item"];
export type OrderLine = Schemas["order_lines.item"];
export type Payment = Schemas["payments.item"];
export type Shipment = Schemas["shipments.item"];
export type Customer = Schemas["customers.item"];
export type Lot = Schemas["lots.item"];
export type Page = Schemas["page"];

export type Kind = "expired" | "forbidden" | "absent" | "conflict" | "refused" | "busy" | "offline" | "failed";

/** Why a request has no answer. `fields` name what is wrong with what was sent, `instance` finds it in the log; `type`
 * is the API's name for it. */
export class Problem extends Error {
  constructor(
    readonly kind: Kind,
    message: string,
    readonly status: number | null = null,
    readonly fields: readonly { field: string; reason: string }[] = [],
    readonly instance: string | null = null,
    readonly type: string | null = null,
  ) {
    super(message);
    this.name = "Problem";
  }
}

const KINDS: Readonly<Record<number, Kind>> = {
  401: "expired", 403: "forbidden", 404: "absent", 409: "conflict", 429: "busy", 502: "offline", 503: "busy",
  504: "busy",
};

/** The problem that an answer states: the API's problem document, or what its gateway says in its own form. */
export function problemOf(status: number, body: unknown): Problem {
  const found = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const said = [found.detail, found.title, found.message].find((each) => typeof each === "string" && each !== "");
  const fields = Array.isArray(found.errors) ? found.errors : [];
  const kind = KINDS[status] ?? (status < 500 ? "refused" : "failed");
  return new Problem(
    kind,
    typeof said === "string" ? said : `The API answered with ${status}.`,
    status,
    fields.map((each) => ({ field: String(each?.field ?? ""), reason: String(each?.reason ?? "") })),
    typeof found.instance === "string" ? found.instance : null,
    typeof found.type === "string" ? found.type : null,
  );
}

export type Api = Client<paths>;

/** A client at `address`. `token` gives the present token, null for none. */
export function connect(address: string, token: () => string | null, send: typeof fetch = fetch): Api {
  const api = createClient<paths>({ baseUrl: address, fetch: (request) => send(request) });
  const signed: Middleware = {
    onRequest({ request }) {
      const present = token();
      if (present === null) throw new Problem("expired", "You are not signed in.");
      request.headers.set("Authorization", `Bearer ${present}`);
      return request;
    },
    onError({ error }) {
      return error instanceof Problem ? error : new Problem("offline", "The API could not be reached.");
    },
  };
  api.use(signed);
  return api;
}

/** What a call answered. Throws a `Problem` for everything that is not an answer. */
export async function answered<T>(
  call: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<{ data: T; dataTime: string | null }> {
  const { data, error, response } = await call;
  if (!response.ok || data === undefined) throw problemOf(response.status, error);
  return { data, dataTime: response.headers.get("Gavel-Data-Time") };
}
