import { expect, test } from "vitest";
import { changed, meanwhile, rebased } from "./correction";

const read = { status: "paid", hammer_price: "5.00", buyers_premium: "1.00" };

test("only what was changed is sent, and what was emptied is cleared", () => {
  expect(changed(read, { ...read, status: "shipped", buyers_premium: " " })).toEqual({ status: "shipped", buyers_premium: null });
  expect(changed(read, { ...read, hammer_price: " 5.00 " })).toEqual({});
});

test("what another person changed is shown beside what is to be written", () => {
  const theirs = { ...read, status: "cancelled", hammer_price: "6.00" };
  expect(meanwhile(read, theirs, { ...read, status: "shipped" })).toEqual([
    { field: "status", read: "paid", theirs: "cancelled", mine: "shipped" },
    { field: "hammer_price", read: "5.00", theirs: "6.00", mine: null },
  ]);
});

test("a draft over a newer version keeps their other changes", () => {
  const theirs = { ...read, hammer_price: "6.00" };
  const next = rebased(read, theirs, { ...read, status: "shipped" });
  expect(next).toEqual({ status: "shipped", hammer_price: "6.00", buyers_premium: "1.00" });
  expect(changed(theirs, next)).toEqual({ status: "shipped" });
});
