/** Questions to the archive: what an address says of one, and how rows of any kind of entity become a table. */

import type { Cell } from "./csv";

/** A question with its parameters, and the answer that was given to it: all that an address carries. */
export interface Wanted {
  question: string | null;
  parameters: Readonly<Record<string, string>>;
  answer: string | null;
}

export type Search = Record<string, string>;

/** The texts of an address. One that looks like a number or a yes is read as one by the router. */
export function texts(search: Record<string, unknown>): Search {
  const plain = Object.entries(search).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return Object.fromEntries(plain.map(([name, value]) => [name, String(value)]).filter(([, value]) => value !== ""));
}

export function wanted({ question, answer, ...parameters }: Search): Wanted {
  return { question: question ?? null, parameters, answer: answer ?? null };
}

/** The address's part for a question, which `wanted` reads. */
export function search({ question, parameters, answer }: Wanted): Search {
  return texts({ question: question ?? "", ...parameters, answer: answer ?? "" });
}

/** A name of a contract as people read it. */
export function words(name: string): string {
  const found = name.replaceAll("_", " ").trim();
  return found.charAt(0).toUpperCase() + found.slice(1);
}

/** A question's text in pieces: plain ones, and between them the names of its parameters. */
export function phrases(text: string): { said: string; isParameter: boolean }[] {
  return text.split(/\{(\w+)\}/).map((said, place) => ({ said, isParameter: place % 2 === 1 })).filter(({ said }) => said !== "");
}

export type Row = Readonly<Record<string, unknown>>;

/** All columns that rows have, in the rows' own order: a row leaves out those in which it holds nothing. */
export function columns(rows: readonly Row[]): string[] {
  const found: string[] = [];
  for (const row of rows) {
    let place = 0;
    for (const name of Object.keys(row)) {
      const known = found.indexOf(name);
      if (known < 0) found.splice(place, 0, name);
      place = (known < 0 ? place : known) + 1;
    }
  }
  return found;
}

/** What a cell says. */
export function said(value: unknown): Cell {
  if (value === undefined || value === null) return null;
  if (typeof value === "string" || typeof value === "number") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  return JSON.stringify(value);
}

/** Whether a column holds numbers alone. */
export function isNumeric(name: string, rows: readonly Row[]): boolean {
  const values = rows.map((row) => row[name]).filter((value) => value !== undefined);
  return !name.endsWith("_id") && values.every((value) => typeof value === "number" || /^-?\d+\.\d+$/.test(String(value)));
}

const LEADS: Readonly<Record<string, "order" | "lot" | "party">> = {
  order_id: "order", lot_id: "lot", customer_id: "party", buyer_id: "party", seller_id: "party", party_id: "party", bidder_id: "party",
};
const HIDDEN = "•••";

/** The kind of page that a cell's id leads to; null for what is no id, or hidden. */
export function leads(name: string, value: Cell): "order" | "lot" | "party" | null {
  return typeof value === "string" && value !== HIDDEN ? LEADS[name] ?? null : null;
}
