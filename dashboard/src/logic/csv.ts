/** A table as CSV (RFC 4180) that a spreadsheet opens as text: nothing in it is run as a formula. */

export type Cell = string | number | null | undefined;

const NUMBER = /^-?\d+(\.\d+)?$/;
const FORMULA = /^[=+\-@\t\r\n]/;

/** One cell. Text that a spreadsheet would run gets an apostrophe before it; a negative number is none. */
export function cell(value: Cell): string {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}

/** Rows under their headings, with the mark by which spreadsheets know UTF-8. */
export function csv(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return `\uFEFF${[headings, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}
