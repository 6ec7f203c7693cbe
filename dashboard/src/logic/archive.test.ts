import { expect, test } from "vitest";
import { wanted, columns, isNumeric, leads, phrases, said, search, texts, words } from "./archive";

test("an address carries a question whole, also what looks like a number", () => {
  const put = { question: "order_as_of", parameters: { order_id: "0017", at: "2026-11-21T10:00:00Z" }, answer: "ab-cd" };
  expect(wanted(search(put))).toEqual(put);
  expect(wanted(texts({ question: "q", order_id: 17, odd: { a: 1 }, none: "" }))).toEqual({ question: "q", parameters: { order_id: "17" }, answer: null });
  expect(search({ question: "q", parameters: { at: "" }, answer: null })).toEqual({ question: "q" });
});

test("columns stand in the rows' order, wherever a row leaves one out", () => {
  expect(columns([{ a: 1, d: 1 }, { a: 1, b: 1, c: 1, d: 1 }, { c: 1, e: 1 }])).toEqual(["a", "b", "c", "e", "d"]);
  expect(columns([])).toEqual([]);
});

test("a question names its parameters", () => {
  expect(phrases("Who changed {key}?")).toEqual([
    { said: "Who changed ", isParameter: false }, { said: "key", isParameter: true }, { said: "?", isParameter: false },
  ]);
  expect(words("_changed_at")).toBe("Changed at");
});

test("ids lead to their pages, unless they are hidden, and are no numbers", () => {
  expect([leads("buyer_id", "c-1"), leads("buyer_id", "•••"), leads("invoice_id", "i-1"), leads("lot_id", null)]).toEqual(["party", null, null, null]);
  expect([isNumeric("price", [{ price: "1.50" }, {}]), isNumeric("price", [{ price: "1.50" }, { price: "EUR" }]), isNumeric("order_id", [{ order_id: 1 }])]).toEqual([true, false, false]);
});

test("any value is said", () => {
  expect([said(true), said(undefined), said({ a: ["x"] }), said(0)]).toEqual(["yes", null, '{"a":["x"]}', 0]);
});
