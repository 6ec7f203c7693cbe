/** Money as the API writes it: decimal text. It is added as whole numbers of the last place, never as floats. */

const WRITTEN = /^(-?)(\d+)(?:\.(\d+))?$/;

interface Decimal {
  units: bigint;
  scale: number;
}

function read(text: string): Decimal {
  const found = WRITTEN.exec(text);
  if (found === null) throw new Error(`expected a decimal, found ${text}`);
  const [, sign, whole = "", places = ""] = found;
  const units = BigInt(whole + places);
  return { units: sign === "-" ? -units : units, scale: places.length };
}

function write({ units, scale }: Decimal): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const cut = digits.length - scale;
  return `${units < 0n ? "-" : ""}${digits.slice(0, cut)}${scale ? `.${digits.slice(cut)}` : ""}`;
}

/** The sum of decimal texts, with as many places as the longest of them and at least two. */
export function sum(amounts: Iterable<string>): string {
  const read_ = [...amounts].map(read);
  const scale = Math.max(2, ...read_.map((each) => each.scale));
  const units = read_.reduce((total, each) => total + each.units * 10n ** BigInt(scale - each.scale), 0n);
  return write({ units, scale });
}

/** The same amount with the other sign. */
export function negated(amount: string): string {
  const { units, scale } = read(amount);
  return write({ units: -units, scale });
}

/** -1, 0 or 1. */
export function sign(amount: string): number {
  const { units } = read(amount);
  return units < 0n ? -1 : units > 0n ? 1 : 0;
}

/** The amount as people of the locale write it, all its places included. A currency that nobody knows keeps its code. */
export function shown(amount: string, currency: string, locale?: string): string {
  const places = Math.max(0, read(amount).scale);
  try {
    const format = new Intl.NumberFormat(locale, {
      style: "currency",
      currency,
      minimumFractionDigits: places,
      maximumFractionDigits: Math.max(places, 0),
    });
    // As text: Intl reads decimal text exactly, where a number would be a float.
    return format.format(amount as unknown as number);
  } catch {
    return `${amount} ${currency}`;
  }
}
