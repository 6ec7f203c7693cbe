/** Lists across all parties, for staff: what was written last, by status, by name; and who wrote what of an order. */

import { type Api, answered } from "./client";
import type { components, operations } from "./schema";

type Ok<T> = T extends { responses: { 200: { content: { "application/json": infer B } } } } ? B : never;
export type Recent = Ok<operations["get_activity"]>;
export type Row = Recent["rows"][number];
export type Listed = Ok<operations["get_lists_entity"]>;
export type Written = Ok<operations["get_activity_order_id"]>["rows"][number];
type Schemas = components["schemas"];

/** The entities that have lists, with what a person calls them, one and many, and their statuses. */
export const KINDS = {
  orders: { one: "order", many: "Orders", statuses: of<Schemas["orders.item"]["status"]>()("placed", "invoiced", "paid", "shipped", "delivered", "completed", "cancelled", "refunded") },
  invoices: { one: "invoice", many: "Invoices", statuses: of<Schemas["invoices.item"]["status"]>()("issued", "paid", "overdue", "void") },
  payments: { one: "payment", many: "Payments", statuses: of<Schemas["payments.item"]["status"]>()("pending", "settled", "failed") },
  shipments: { one: "shipment", many: "Shipments", statuses: of<Schemas["shipments.item"]["status"]>()("packed", "shipped", "delivered", "returned", "lost") },
  lots: { one: "lot", many: "Lots", statuses: of<Schemas["lots.item"]["status"]>()("draft", "open", "sold", "unsold", "withdrawn") },
  customers: { one: "party", many: "Parties", statuses: of<Schemas["customers.item"]["status"]>()("active", "suspended", "closed") },
} as const;

export type Entity = keyof typeof KINDS;

export const isEntity = (name: unknown): name is Entity => typeof name === "string" && Object.hasOwn(KINDS, name);

/** Texts that are all of a type's: one that the contract does not know, or that is missing, does not compile. */
function of<T extends string>() {
  return <const L extends readonly T[]>(...all: L & ([Exclude<T, L[number]>] extends [never] ? unknown : never)): readonly string[] => all;
}

const PAGE = 100;
/** Clocks of writers disagree, and an index is a second behind: what is read again before the newest that is known. */
const OVERLAP = 60_000_000;

/** What was written last, newest first; of those that are known only what may be newer is read again. */
export async function readRecent(api: Api, known: readonly Row[], most: number): Promise<Row[]> {
  const since = Math.max(0, (known[0]?.version ?? 0) - OVERLAP);
  const query = { limit: Math.min(PAGE, most), since: String(since) };
  const { data } = await answered(api.GET("/activity", { params: { query } }));
  return data.more ? data.rows : merged(data.rows, known, since, most);
}

/** New rows, and of the old ones those that were written before `since` and are not written again. */
export function merged(fresh: readonly Row[], known: readonly Row[], since: number, most: number): Row[] {
  const again = new Set(fresh.map(identity));
  return [...fresh, ...known.filter((row) => row.version <= since && !again.has(identity(row)))].slice(0, most);
}

export const identity = (row: { entity: string; key: string }): string => `${row.entity} ${row.key}`;

/** A page of what has a status, or a name that begins so. */
export async function readList(
  api: Api, entity: Entity, by: { status: string } | { name: string }, cursor: string | null,
): Promise<Listed> {
  const query = { ...by, limit: PAGE, ...(cursor === null ? {} : { cursor }) };
  return (await answered(api.GET("/lists/{entity}", { params: { path: { entity }, query } }))).data;
}

/** Who wrote an order and what belongs to it last, the newest first. */
export async function readWriters(api: Api, id: string): Promise<Written[]> {
  return (await answered(api.GET("/activity/{order_id}", { params: { path: { order_id: id } } }))).data.rows;
}
