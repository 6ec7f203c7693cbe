/** What pages read: one place for each request, its key in the cache, and how a whole is put together of pages. */

import { type Api, answered, type OrderTree, Problem } from "./client";
import { joined } from "../logic/order";

const MOST_PAGES = 20;

/** An order with all that belongs to it, up to 20 pages; a `cursor` is left where there is more. */
export async function readOrder(api: Api, id: string): Promise<OrderTree> {
  let cursor: string | undefined;
  let whole: OrderTree | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query = cursor === undefined ? {} : { cursor };
    const { data } = await answered(api.GET("/orders/{order_id}", { params: { path: { order_id: id }, query } }));
    whole = whole === null ? data : joined(whole, data);
    cursor = data.cursor;
    if (cursor === undefined) break;
  }
  return whole as OrderTree;
}

export interface Found {
  entity: "order" | "party" | "lot" | "invoice" | "payment" | "shipment";
  id: string;
  status: string;
  note: string;
  /** The order that it belongs to, or is. */
  order: string | null;
}

/** Everything that has this id and that the person may read. Throws the first problem that is not "there is none". */
export async function findById(api: Api, id: string, isStaff: boolean): Promise<Found[]> {
  const one = async (read: () => Promise<Found>): Promise<Found | null> => {
    try {
      return await read();
    } catch (error) {
      if (error instanceof Problem && (error.kind === "absent" || error.status === 422)) return null;
      throw error;
    }
  };
  const ofOrders = [
    one(async () => {
      const path = { order_id: id };
      const { order: o } = (await answered(api.GET("/orders/{order_id}", { params: { path, query: { limit: 1 } } }))).data;
      return { entity: "order", id, status: o.status, note: `${o.buyer_id} buys from ${o.seller_id}`, order: o.order_id };
    }),
    one(async () => {
      const i = (await answered(api.GET("/invoices/{invoice_id}", { params: { path: { invoice_id: id } } }))).data;
      return { entity: "invoice", id, status: i.status, note: `to the ${i.role} ${i.party_id}`, order: i.order_id };
    }),
    one(async () => {
      const p = (await answered(api.GET("/payments/{payment_id}", { params: { path: { payment_id: id } } }))).data;
      return { entity: "payment", id, status: p.status, note: `${p.kind} by ${p.method.replaceAll("_", " ")}`, order: p.order_id };
    }),
    one(async () => {
      const s = (await answered(api.GET("/shipments/{shipment_id}", { params: { path: { shipment_id: id } } }))).data;
      return { entity: "shipment", id, status: s.status, note: `with ${s.carrier}`, order: s.order_id };
    }),
  ];
  const forStaff = [
    one(async () => {
      const c = (await answered(api.GET("/customers/{customer_id}", { params: { path: { customer_id: id } } }))).data;
      return { entity: "party", id, status: c.status, note: c.name ?? "", order: null };
    }),
    one(async () => {
      const l = (await answered(api.GET("/lots/{lot_id}", { params: { path: { lot_id: id } } }))).data;
      return { entity: "lot", id, status: l.status, note: l.title, order: null };
    }),
  ];
  const found = await Promise.all([...ofOrders, ...(isStaff ? forStaff : [])]);
  return found.filter((each) => each !== null);
}
