import { expect, test } from "vitest";
import type { Chart } from "../api/figures";
import { bars, extent, labelled, leading, orders, period, periodName, pieces, scale } from "./chart";

const chart = (more: Partial<Chart>): Chart => ({
  kind: "timeline", axis: "money", stacked: false, grain: "month", running: false, names: ["2026-01-01", "2026-02-01"],
  series: [], ...more,
});

test("a scale has round ticks that hold all values and nought", () => {
  expect(scale([3, 97]).ticks).toEqual([0, 20, 40, 60, 80, 100]);
  expect(scale([-7, 1])).toMatchObject({ low: -8, high: 2 });
  expect(scale([0.1, 0.3]).ticks).toEqual([0, 0.1, 0.2, 0.3]);
  expect(scale([]).ticks).toEqual([0, 1]);
  expect(scale([5], true).high).toBe(1);
});

test("stacked bars stand on each other, losses under nought", () => {
  const stacked = chart({
    stacked: true,
    series: [{ title: "a", mark: "bars", values: [2, -1], leads_to: "" }, { title: "b", mark: "bars", values: [3, 4], leads_to: "" }, { title: "c", mark: "bars", values: [null, -2], leads_to: "" }],
  });
  expect(bars(stacked).map(({ name, from, to }) => [name, from, to])).toEqual([[0, 0, 2], [0, 2, 5], [1, 0, -1], [1, 0, 4], [1, -1, -3]]);
  expect(Math.max(...extent(stacked))).toBe(5);
});

test("a line breaks where there is no value", () => {
  expect(pieces([1, null, 2, 3])).toEqual([[[0, 1]], [[2, 2], [3, 3]]]);
});

test("the last period always has its label", () => {
  expect([...labelled(10, 4)]).toEqual([0, 3, 6, 9]);
  expect([...labelled(1, 4)]).toEqual([0]);
});

test("a period keeps its name whatever the zone of the machine", () => {
  expect(periodName("2026-02-01", "month", "en-GB")).toBe("Feb 26");
  expect(periodName("2026-02-01T00:00:00", "day", "en-GB")).toBe("1 Feb");
  expect(periodName("2025-10-01", "quarter")).toBe("Q4 2025");
});

test("a period ends where the next begins, by its grain", () => {
  const until = (name: string, grain: string) => period(name, grain)?.until;
  expect(period("2025-10-01", "quarter")).toEqual({ from: "2025-10-01T00:00:00Z", until: "2026-01-01T00:00:00Z" });
  expect(period("2024-02-01T00:00:00", "month")).toEqual({ from: "2024-02-01T00:00:00Z", until: "2024-03-01T00:00:00Z" });
  expect(until("2025-12-29T00:00:00", "week")).toBe("2026-01-05T00:00:00Z");
  expect(until("2024-02-29", "day")).toBe("2024-03-01T00:00:00Z");
  expect(until("2026-03-29T23:00:00", "hour")).toBe("2026-03-30T00:00:00Z");
  expect([period("2026-01-01", "fortnight"), period("Coins", "month")]).toEqual([null, null]);
});

test("only a mark that counts orders leads to them", () => {
  const led = chart({ series: [{ title: "before", mark: "bars", values: [1, 2], leads_to: "" }, { title: "now", mark: "bars", values: [1, 2], leads_to: "orders_placed" }] });
  expect(leading(led)).toBe(1);
  expect(orders(led, 1, 1, "EUR")).toEqual({ question: "orders_placed", currency: "EUR", from: "2026-02-01T00:00:00Z", until: "2026-03-01T00:00:00Z" });
  expect([orders(led, 0, 1, "EUR"), orders(led, 1, 2, "EUR"), orders(led, 1, 1, "")]).toEqual([null, null, null]);
  expect([leading(chart({})), leading(null)]).toEqual([-1, -1]);
});
