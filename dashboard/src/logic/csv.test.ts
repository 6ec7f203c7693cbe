import { expect, test } from "vitest";
import { cell, csv } from "./csv";

test("cells keep commas, quotes, lines and every script", () => {
  expect(csv(["Title", "No."], [['a "b", c\nd', 1], ["مزهرية", null]])).toBe('\uFEFF"Title","No."\r\n"a ""b"", c\nd","1"\r\n"مزهرية",""\r\n');
});

test("what a spreadsheet would run is text, and a number stays a number", () => {
  for (const text of ["=1+1", "+49 1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", '=HYPERLINK("x")']) {
    expect(cell(text).startsWith("\"'")).toBe(true);
  }
  expect([cell("-5.00"), cell(-5), cell("a=1")]).toEqual(['"-5.00"', '"-5"', '"a=1"']);
});
