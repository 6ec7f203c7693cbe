/** Which page is at which address. */

import { createRootRoute, createRoute, createRouter } from "@tanstack/react-router";
import { isEntity } from "./api/lists";
import { wanted, type Search, texts } from "./logic/archive";
import type { Wanted } from "./pages/lists";
import { Frame, NotFound } from "./parts/frame";
import { later } from "./parts/later";
import { SignedIn } from "./parts/sign-in";

const FindPage = later(async () => (await import("./pages/find")).FindPage);
const OrderPage = later(async () => (await import("./pages/order")).OrderPage);
const PartyPage = later(async () => (await import("./pages/party")).PartyPage);
const LotPage = later(async () => (await import("./pages/lot")).LotPage);
const FiguresPage = later(async () => (await import("./pages/figures")).FiguresPage);
const ArchivePage = later(async () => (await import("./pages/archive")).ArchivePage);
const HealthPage = later(async () => (await import("./pages/health")).HealthPage);

const root = createRootRoute({ component: Frame, notFoundComponent: NotFound });

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

const find = createRoute({
  getParentRoute: () => root,
  path: "/",
  // An id of digits only is a number to the router.
  validateSearch: (search: Record<string, unknown>): { id?: string } & Partial<Wanted> => {
    const id = text(typeof search.id === "number" ? String(search.id) : search.id);
    if (id !== undefined) return { id };
    const [status, name] = [text(search.status), text(typeof search.name === "number" ? String(search.name) : search.name)];
    if (!isEntity(search.list)) return {};
    if (name !== undefined) return { list: search.list, name };
    return status === undefined ? {} : { list: search.list, status };
  },
  component: function Page() {
    const { id, list, ...by } = find.useSearch();
    return <FindPage id={id ?? null} wanted={list === undefined ? null : { list, ...by }} />;
  },
});

const order = createRoute({
  getParentRoute: () => root,
  path: "/orders/$id",
  component: function Page() {
    return <OrderPage id={order.useParams().id} />;
  },
});

const party = createRoute({
  getParentRoute: () => root,
  path: "/parties/$id",
  validateSearch: (search: Record<string, unknown>): { role?: "seller" } => (search.role === "seller" ? { role: "seller" } : {}),
  component: function Page() {
    return <PartyPage id={party.useParams().id} role={party.useSearch().role ?? "buyer"} />;
  },
});

const lot = createRoute({
  getParentRoute: () => root,
  path: "/lots/$id",
  component: function Page() {
    return <LotPage id={lot.useParams().id} />;
  },
});

const figures = createRoute({
  getParentRoute: () => root,
  path: "/figures",
  validateSearch: (search: Record<string, unknown>): { currency?: string } => {
    const currency = text(search.currency);
    return currency === undefined ? {} : { currency };
  },
  component: function Page() {
    return <FiguresPage currency={figures.useSearch().currency ?? null} />;
  },
});

const archive = createRoute({
  getParentRoute: () => root,
  path: "/archive",
  validateSearch: (search: Record<string, unknown>): Search => texts(search),
  component: function Page() {
    return <ArchivePage wanted={wanted(archive.useSearch())} />;
  },
});

const health = createRoute({ getParentRoute: () => root, path: "/health", component: HealthPage });

const signedIn = createRoute({ getParentRoute: () => root, path: "/signed-in", component: SignedIn });

export const router = createRouter({ routeTree: root.addChildren([find, order, party, lot, figures, archive, health, signedIn]) });

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
