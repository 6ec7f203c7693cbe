import { expect, test } from "vitest";
import { length, moment, short, standing, writtenAt } from "./time";

test("a moment is shown in the person's zone, and says which", () => {
  expect(moment("2025-06-21T22:38:37.744000Z", "en-GB", "Europe/Berlin")).toBe("22 Jun 2025, 00:38 CEST");
  expect(short("2025-12-31T23:59:00Z", "en-GB", "UTC")).toBe("31 Dec 2025, 23:59");
});

test("what is no moment is shown as it is", () => {
  expect(moment("soon")).toBe("soon");
});

test("a version says when it was written only if it can", () => {
  const now = new Date("2026-11-29T00:00:00Z");
  expect(writtenAt(1795919946112370, now)).toBe(new Date(1795919946112.37).toISOString());
  expect(writtenAt(7, now)).toBeNull();
  expect(writtenAt(9_000_000_000_000_000, now)).toBeNull();
});

test("a length is said in its largest whole unit", () => {
  expect([-1, 0, 119, 120, 7_199, 7_200, 172_800].map(length)).toEqual(["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]);
});

test("nobody knows how old it is where it is of a moment to come, or of none", () => {
  const at = (text: string) => standing(text, 300, new Date("2026-03-01T10:00:00Z"));
  expect(["2026-03-01T09:55:00Z", "2026-03-01T09:54:59Z"].map(at)).toEqual(["fresh", "old"]);
  expect(["2026-03-01T10:05:00Z", "2026-03-01T10:05:01Z", "soon"].map(at)).toEqual(["fresh", "to come", "to come"]);
});
