/** What an order's items come to: who owes what, what was billed, paid and given back, and what happened when. */

import type { Invoice, Order, OrderTree, Payment } from "../api/client";
import { negated, sum } from "./money";

export interface Part {
  title: string;
  amount: string;
}

export interface Sums {
  /** What the buyer owes by the order: price, premium and the buyer's fees. */
  buyer: Part[];
  owed: string;
  /** What the seller gets by the order: price less commission and the seller's fees. */
  seller: Part[];
  due: string;
  /** Invoices to the buyer that are not void; null where there is none. */
  billed: string | null;
  paid: string;
  refunded: string;
  pending: string;
  /** Paid less given back. */
  kept: string;
  /** Billed, or owed where nothing was billed, less what is kept; below nought where too much is kept. */
  open: string;
  /** Invoices and payments in other currencies, which are in none of the sums. */
  others: number;
}

/** The sums of an order in its currency. */
export function sums(tree: OrderTree): Sums {
  const { order } = tree;
  const same = <T extends { currency: string }>(items: readonly T[]) => items.filter((i) => i.currency === order.currency);
  const invoices = same(tree.invoices);
  const payments = same(tree.payments).filter((payment) => isBuyers(payment, tree.invoices));
  const buyer = [
    { title: "Hammer price", amount: order.hammer_price },
    ...(order.buyers_premium ? [{ title: "Buyer's premium", amount: order.buyers_premium }] : []),
    ...fees(order, "buyer"),
  ];
  const seller = [
    { title: "Hammer price", amount: order.hammer_price },
    ...(order.sellers_commission ? [{ title: "Seller's commission", amount: negated(order.sellers_commission) }] : []),
    ...fees(order, "seller").map((fee) => ({ ...fee, amount: negated(fee.amount) })),
  ];
  const toBuyer = invoices.filter((invoice) => invoice.role === "buyer" && invoice.status !== "void");
  const owed = sum(buyer.map((part) => part.amount));
  const billed = toBuyer.length > 0 ? sum(toBuyer.map((invoice) => invoice.total_amount)) : null;
  const paid = total(payments, "capture", "settled");
  const refunded = total(payments, "refund", "settled");
  const kept = sum([paid, negated(refunded)]);
  const all = tree.invoices.length + tree.payments.length;
  return {
    buyer, owed, seller, due: sum(seller.map((part) => part.amount)), billed, paid, refunded,
    pending: total(payments, "capture", "pending"), kept,
    open: sum([billed ?? owed, negated(kept)]),
    others: all - invoices.length - same(tree.payments).length,
  };
}

function fees(order: Order, payer: "buyer" | "seller"): Part[] {
  return (order.fees ?? []).filter((fee) => fee.payer === payer).map((fee) => ({ title: `Fee: ${fee.kind}`, amount: fee.amount }));
}

/** A payment is the buyer's unless it names an invoice to the seller. */
function isBuyers(payment: Payment, invoices: readonly Invoice[]): boolean {
  return invoices.find((invoice) => invoice.invoice_id === payment.invoice_id)?.role !== "seller";
}

function total(payments: readonly Payment[], kind: Payment["kind"], status: Payment["status"]): string {
  return sum(payments.filter((p) => p.kind === kind && p.status === status).map((p) => p.amount));
}

export interface Event {
  at: string;
  what: string;
  id: string;
}

/** What the order's items say that happened, oldest first. */
export function story(tree: OrderTree): Event[] {
  const { order } = tree;
  const found: (Event | null)[] = [
    { at: order.placed_at, what: "Order placed", id: order.order_id },
    ...tree.invoices.map((i) => ({ at: i.issued_at, what: `Invoice to the ${i.role} issued`, id: i.invoice_id })),
    ...tree.payments.map((p) => ({
      at: p.created_at, what: `${p.kind === "refund" ? "Refund" : "Payment"} begun, now ${p.status}`, id: p.payment_id,
    })),
    ...tree.shipments.flatMap((s) => [
      { at: s.created_at, what: "Shipment packed", id: s.shipment_id },
      s.shipped_at ? { at: s.shipped_at, what: `Shipped with ${s.carrier}`, id: s.shipment_id } : null,
      s.delivered_at ? { at: s.delivered_at, what: "Delivered", id: s.shipment_id } : null,
    ]),
  ];
  return found.filter((e) => e !== null).sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

/** Two pages of one order together. */
export function joined(first: OrderTree, next: OrderTree): OrderTree {
  const lists = ["order_lines", "invoices", "invoice_lines", "payments", "shipments"] as const;
  const { cursor: _, ...rest } = first;
  const both = Object.fromEntries(lists.map((name) => [name, [...first[name], ...next[name]]]));
  return { ...rest, ...both, ...(next.cursor ? { cursor: next.cursor } : {}) } as OrderTree;
}
