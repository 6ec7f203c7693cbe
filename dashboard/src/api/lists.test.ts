import { expect, test } from "vitest";
import { merged, type Row } from "./lists";

const row = (key: string, version: number): Row => ({ entity: "orders", key, version, by: null, deleted: false, item: {} });
const keys = (rows: readonly Row[]) => rows.map((each) => `${each.key}@${each.version}`);

test("an item that is written again is listed once, and what was read again replaces what was known", () => {
  const known = [row("a", 9), row("b", 8), row("c", 3)];
  expect(keys(merged([row("c", 12), row("a", 9)], known, 7, 10))).toEqual(["c@12", "a@9"]);
  expect(keys(merged([row("d", 12)], known, 20, 10))).toEqual(["d@12", "a@9", "b@8", "c@3"]);
  expect(keys(merged([row("d", 12)], known, 20, 2))).toEqual(["d@12", "a@9"]);
});
