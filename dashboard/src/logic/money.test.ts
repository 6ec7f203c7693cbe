import { expect, test } from "vitest";
import { negated, shown, sign, sum } from "./money";

test("amounts add up where floats do not", () => {
  expect(sum(["0.10", "0.20"])).toBe("0.30");
  expect(sum(["999999999999.99", "0.01"])).toBe("1000000000000.00");
  expect(sum(["1.005", "-0.01"])).toBe("0.995");
  expect(sum([])).toBe("0.00");
});

test("a negative amount below one keeps its sign and its nought", () => {
  expect(sum(["0.05", "-0.10"])).toBe("-0.05");
  expect(negated("0.05")).toBe("-0.05");
  expect(negated("0.00")).toBe("0.00");
});

test("what is no decimal is refused, not read as nought", () => {
  expect(() => sum(["1,00"])).toThrow("expected a decimal");
  expect(() => sum([""])).toThrow();
  expect(() => sum(["1e5"])).toThrow();
});

test("an amount is shown with every digit, beyond what a float holds", () => {
  expect(shown("123456789012345678.91", "EUR", "en-GB")).toBe("€123,456,789,012,345,678.91");
  expect(shown("639.00", "EUR", "de-DE")).toBe("639,00\u00a0€");
  expect(shown("1500.00", "JPY", "en-GB")).toContain("1,500.00");
  expect(shown("1.00", "not a currency", "en-GB")).toBe("1.00 not a currency");
});

test("signs", () => {
  expect([sign("-0.01"), sign("0.00"), sign("3")]).toEqual([-1, 0, 1]);
});
