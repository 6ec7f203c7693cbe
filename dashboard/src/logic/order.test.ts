import { expect, test } from "vitest";
import type { Invoice, OrderTree, Payment } from "../api/client";
import { joined, story, sums } from "./order";

const AT = "2026-01-02T00:00:00Z";
const payment = (more: Partial<Payment>): Payment => ({
  payment_id: "p", order_id: "o", kind: "capture", method: "card", currency: "EUR", amount: "1.00", status: "settled",
  created_at: AT, _version: 1, ...more,
});
const invoice = (more: Partial<Invoice>): Invoice => ({
  invoice_id: "i", order_id: "o", party_id: "c", role: "buyer", currency: "EUR", total_amount: "1.00", status: "issued",
  issued_at: AT, _version: 1, ...more,
});
const tree = (more: Partial<OrderTree>): OrderTree => ({
  order: {
    order_id: "o", buyer_id: "b", seller_id: "s", currency: "EUR", hammer_price: "639.00", buyers_premium: "127.80",
    sellers_commission: "38.34", status: "paid", placed_at: "2026-01-01T00:00:00Z", _version: 1,
    fees: [{ kind: "insurance", payer: "buyer", amount: "6.39" }, { kind: "photography", payer: "seller", amount: "3.00" }],
  },
  order_lines: [], invoices: [], invoice_lines: [], payments: [], shipments: [], ...more,
});

test("each side's amounts add up", () => {
  const found = sums(tree({}));
  expect([found.owed, found.due]).toEqual(["773.19", "597.66"]);
  expect([found.billed, found.open]).toEqual([null, "773.19"]);
});

test("what is billed goes before what is owed, and void or the seller's invoices do not count", () => {
  const invoices = [
    invoice({ total_amount: "798.69" }), invoice({ total_amount: "5.00", status: "void" }),
    invoice({ total_amount: "41.34", role: "seller" }),
  ];
  expect(sums(tree({ invoices })).billed).toBe("798.69");
});

test("only settled payments of the buyer close what is open, and refunds open it again", () => {
  const found = sums(tree({
    invoices: [invoice({ total_amount: "100.00" }), invoice({ invoice_id: "s", role: "seller" })],
    payments: [
      payment({ amount: "80.00" }), payment({ amount: "20.00", status: "failed" }),
      payment({ amount: "9.00", status: "pending" }), payment({ amount: "30.00", kind: "refund" }),
      payment({ amount: "41.00", invoice_id: "s" }),
    ],
  }));
  expect([found.paid, found.refunded, found.pending, found.kept, found.open]).toEqual(["80.00", "30.00", "9.00", "50.00", "50.00"]);
});

test("other currencies are never added, but counted", () => {
  const found = sums(tree({ payments: [payment({ currency: "USD", amount: "5.00" })], invoices: [invoice({ currency: "GBP" })] }));
  expect([found.paid, found.billed, found.others]).toEqual(["0.00", null, 2]);
});

test("the story follows the order of moments, not of texts", () => {
  const found = story(tree({ payments: [payment({ created_at: "2026-01-01T01:00:00+02:00" })], invoices: [invoice({})] }));
  expect(found.map((e) => e.what)).toEqual(["Payment begun, now settled", "Order placed", "Invoice to the buyer issued"]);
});

test("pages of an order are joined until there is no more", () => {
  const first = tree({ payments: [payment({})], cursor: "x" });
  const both = joined(first, tree({ payments: [payment({ payment_id: "q" })] }));
  expect(both.payments.map((p) => p.payment_id)).toEqual(["p", "q"]);
  expect("cursor" in both).toBe(false);
});
