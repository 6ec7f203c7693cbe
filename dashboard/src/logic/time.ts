/** Moments as people of the locale read them, with the time zone beside them. */

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Date and time to the minute with the zone's name, `21 Jun 2025, 13:38 UTC`. */
export function moment(text: string, locale?: string, zone: string = ZONE): string {
  return format(text, { ...PARTS, timeZoneName: "short" }, locale, zone);
}

/** The same without the zone, for columns whose heading names it. */
export function short(text: string, locale?: string, zone: string = ZONE): string {
  return format(text, PARTS, locale, zone);
}

const PARTS = {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
} as const;

function format(text: string, how: Intl.DateTimeFormatOptions, locale: string | undefined, zone: string): string {
  const when = new Date(text);
  return Number.isNaN(when.getTime())
    ? text
    : new Intl.DateTimeFormat(locale, { ...how, timeZone: zone }).format(when);
}

/** When an item was written: its version counts microseconds since 1970, unless a foreign writer's does not. */
export function writtenAt(version: number, now: Date = new Date()): string | null {
  const when = new Date(version / 1000);
  const plausible = when.getTime() > Date.UTC(2015, 0) && when.getTime() < now.getTime() + 86_400_000;
  return plausible ? when.toISOString() : null;
}

/** How long ago a moment was, as people say it: `35 s`, `12 min`, `3 h`, `2 days`. */
export function age(text: string, now: Date = new Date()): string {
  return length(Math.floor((now.getTime() - Date.parse(text)) / 1000));
}

/** Whether what is of that moment is older than some seconds, or of a moment to come, so that nobody knows how old it is. */
export function standing(text: string, limit: number, now: Date = new Date()): "fresh" | "old" | "to come" {
  const seconds = (now.getTime() - Date.parse(text)) / 1000;
  if (!(seconds >= -limit)) return "to come";
  return seconds > limit ? "old" : "fresh";
}

/** A number of seconds in the same words; less than none is none. */
export function length(of: number): string {
  const seconds = Math.max(0, of);
  for (const [size, unit] of [[86_400, "days"], [3_600, "h"], [60, "min"]] as const) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${seconds} s`;
}
