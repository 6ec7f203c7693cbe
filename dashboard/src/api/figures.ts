/** The report's panels as the pipeline wrote them, for staff. */

import type { components } from "./figures.schema";
import { type Api, answered, Problem } from "./client";

type Schemas = components["schemas"];
export type Figures = Schemas["Document"];
export type Section = Schemas["Section"];
export type Theme = Schemas["Theme"];
export type Panel = Schemas["Panel"];
export type Chart = Schemas["ChartData"];
export type Change = Schemas["Change"];

const VERSION = 1;

/** The figures; null while the pipeline has not written any. Throws a `Problem`. */
export async function readFigures(api: Api): Promise<Figures | null> {
  let found: Figures;
  try {
    // The API hands the document on as it is: its form is the pipeline's.
    found = (await answered(api.GET("/figures"))).data as unknown as Figures;
  } catch (error) {
    if (error instanceof Problem && error.kind === "absent") return null;
    throw error;
  }
  if (found.version !== VERSION) throw new Problem("failed", "The figures were written by another version. Reload the page.");
  return found;
}
