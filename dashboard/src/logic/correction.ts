/** Correcting an item over the version that was read: what is sent, and what another person changed meanwhile. */

export type Values = Readonly<Record<string, string>>;

/** The fields whose text is another one than what was read; emptied ones are cleared (null). */
export function changed(read: Values, draft: Values): Record<string, string | null> {
  const fields = Object.keys(draft).filter((field) => draft[field]?.trim() !== (read[field] ?? ""));
  return Object.fromEntries(fields.map((field) => [field, draft[field]?.trim() || null]));
}

export interface Meanwhile {
  field: string;
  read: string;
  theirs: string;
  /** What is to be written; null where only the other person changed the field. */
  mine: string | null;
}

/** The fields that another person changed since they were read, beside what is to be written over them. */
export function meanwhile(read: Values, theirs: Values, draft: Values): Meanwhile[] {
  const mine = changed(read, draft);
  return Object.keys(draft)
    .filter((field) => (read[field] ?? "") !== (theirs[field] ?? ""))
    .map((field) => ({
      field, read: read[field] ?? "", theirs: theirs[field] ?? "", mine: field in mine ? (mine[field] ?? "") : null,
    }));
}

/** The draft over what is there now: what was changed here stays, all else is theirs. */
export function rebased(read: Values, theirs: Values, draft: Values): Values {
  const mine = changed(read, draft);
  return Object.fromEntries(Object.keys(draft).map((field) => [field, field in mine ? (mine[field] ?? "") : (theirs[field] ?? "")]));
}
