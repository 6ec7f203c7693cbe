/** Where a chart draws what: plain geometry, of which the page makes SVG. */

import type { Chart } from "../api/figures";

export interface Scale {
  low: number;
  high: number;
  ticks: number[];
}

/** Round numbers around all values and nought, three to seven of them. */
export function scale(values: readonly number[], share = false): Scale {
  if (share) return { low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1] };
  const least = Math.min(0, ...values);
  const most = Math.max(0, ...values);
  if (least === most) return { low: 0, high: 1, ticks: [0, 1] };
  const rough = (most - least) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
  const first = Math.floor(least / step);
  const last = Math.ceil(most / step);
  const ticks = Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
  return { low: ticks[0] ?? 0, high: ticks.at(-1) ?? 1, ticks };
}

/** A bar: which series and name it is of, and from where to where it goes, in values. */
export interface Bar {
  series: number;
  name: number;
  from: number;
  to: number;
  value: number;
}

/** The bars of a chart: beside each other, or what is above nought on top of each other and what is below under it. */
export function bars(chart: Chart): Bar[] {
  return chart.names.flatMap((_, name) => {
    let above = 0;
    let below = 0;
    return chart.series.flatMap((series, place) => {
      const value = series.values[name];
      if (series.mark !== "bars" || value === null || value === undefined) return [];
      const from = chart.stacked ? (value < 0 ? below : above) : 0;
      if (value < 0) below = from + value;
      else above = from + value;
      return [{ series: place, name, from, to: from + value, value }];
    });
  });
}

/** All values that a scale has to hold. */
export function extent(chart: Chart): number[] {
  const lines = chart.series.filter((series) => series.mark === "lines").flatMap((series) => series.values);
  return [...bars(chart).map((bar) => bar.to), ...lines.filter((value) => value !== null)];
}

/** The pieces of a line: it breaks where there is no value. */
export function pieces(values: readonly (number | null)[]): [number, number][][] {
  const found: [number, number][][] = [];
  let open = false;
  values.forEach((value, place) => {
    if (value === null) open = false;
    else if (open) found.at(-1)?.push([place, value]);
    else {
      found.push([[place, value]]);
      open = true;
    }
  });
  return found;
}

/** Which of so many names get a label when there is room for a few: the last always. */
export function labelled(count: number, room: number): Set<number> {
  const step = Math.max(1, Math.ceil(count / room));
  return new Set(Array.from({ length: count }, (_, place) => place).filter((place) => (count - 1 - place) % step === 0));
}

/** The moment at which a period begins: a day or a moment of UTC, without its zone. */
function beginning(name: string): Date {
  return new Date(/T/.test(name) ? (/(Z|[+-]\d\d:?\d\d)$/.test(name) ? name : `${name}Z`) : `${name}T00:00:00Z`);
}

const HOUR = 3_600_000;
const STEPS: Readonly<Record<string, number>> = { hour: HOUR, day: 24 * HOUR, week: 7 * 24 * HOUR };
const MONTHS: Readonly<Record<string, number>> = { month: 1, quarter: 3 };

/** The moments from which and up to which a period of UTC is; null for what is none. */
export function period(name: string, grain: string): { from: string; until: string } | null {
  const from = beginning(name);
  const until = new Date(from.getTime() + (STEPS[grain] ?? 0));
  until.setUTCMonth(until.getUTCMonth() + (MONTHS[grain] ?? 0));
  if (!(until > from)) return null;
  const [first, last] = [from, until].map((each) => each.toISOString().replace(".000Z", "Z"));
  return { from: first as string, until: last as string };
}

/** What the address of the archive says to list the orders of a period that a series counts; null where it counts none. */
export function orders(chart: Chart, series: number, name: number, currency: string): Record<string, string> | null {
  const question = chart.series[series]?.leads_to;
  const found = period(chart.names[name] ?? "", chart.grain);
  return question && currency !== "" && found !== null ? { question, currency, ...found } : null;
}

/** The series that leads to the orders of its periods; -1 for none. */
export const leading = (chart: Chart | null): number => chart?.series.findIndex((series) => series.leads_to) ?? -1;

/** The beginning of a period as an axis names it. Periods are days and months of UTC. */
export function periodName(name: string, grain: string, locale?: string): string {
  const when = beginning(name);
  if (Number.isNaN(when.getTime())) return name;
  if (grain === "quarter") return `Q${Math.floor(when.getUTCMonth() / 3) + 1} ${when.getUTCFullYear()}`;
  const how: Intl.DateTimeFormatOptions =
    grain === "month" ? { month: "short", year: "2-digit" }
      : grain === "hour" ? { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }
        : { day: "numeric", month: "short" };
  return new Intl.DateTimeFormat(locale, { ...how, timeZone: "UTC" }).format(when);
}
