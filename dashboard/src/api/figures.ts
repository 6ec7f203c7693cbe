/** The report's panels as the pipeline wrote them, for staff. */

import type { components } from "./figures.schema";
import { Problem, problemOf } from "./client";

type Schemas = components["schemas"];
export type Figures = Schemas["Document"];
export type Section = Schemas["Section"];
export type Theme = Schemas["Theme"];
export type Panel = Schemas["Panel"];
export type Chart = Schemas["ChartData"];
export type Change = Schemas["Change"];

const VERSION = 1;

/** The figures; null while the pipeline has not rendered any. Throws a `Problem`. */
export async function readFigures(token: string | null, send: typeof fetch = fetch): Promise<Figures | null> {
  if (token === null) throw new Problem("expired", "You are not signed in.");
  let response: Response;
  try {
    response = await send("/figures.json", { headers: { Authorization: `Bearer ${token}` } });
  } catch {
    throw new Problem("offline", "The figures could not be reached.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.status === 404) return null;
  if (!response.ok) throw problemOf(response.status, body);
  const found = body as Figures;
  if (found?.version !== VERSION) throw new Problem("failed", "The figures were written by another version. Reload the page.");
  return found;
}
