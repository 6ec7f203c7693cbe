import { expect, test } from "vitest";
import type { Chart } from "../api/figures";
import { bars, extent, labelled, periodName, pieces, scale } from "./chart";

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
    series: [{ title: "a", mark: "bars", values: [2, -1] }, { title: "b", mark: "bars", values: [3, 4] }, { title: "c", mark: "bars", values: [null, -2] }],
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
