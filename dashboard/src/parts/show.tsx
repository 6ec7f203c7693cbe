/** Small parts that pages show values with. */

import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { shown, sign } from "../logic/money";
import { moment, short, writtenAt, ZONE } from "../logic/time";

export function Money({ amount, currency }: { amount: string | undefined; currency: string }) {
  if (amount === undefined) return <span className="quiet">–</span>;
  return <span className={sign(amount) < 0 ? "money negative" : "money"}>{shown(amount, currency)}</span>;
}

/** A moment; within a table, whose heading names the zone, without it. */
export function When({ at, inTable = false }: { at: string | undefined; inTable?: boolean }) {
  if (at === undefined) return <span className="quiet">–</span>;
  return (
    <time dateTime={at} title={at}>
      {inTable ? short(at) : moment(at)}
    </time>
  );
}

/** The heading of a column of moments. A zone has two short names a year, and rows of both: its long one is true. */
export function WhenHeading({ children }: { children: string }) {
  return (
    <>
      {children} <span className="zone">({ZONE})</span>
    </>
  );
}

const TONES: Readonly<Record<string, string>> = {
  completed: "good", delivered: "good", paid: "good", settled: "good", sold: "good", active: "good",
  cancelled: "bad", refunded: "bad", failed: "bad", overdue: "bad", lost: "bad", returned: "bad", suspended: "bad",
  void: "off", closed: "off", unsold: "off", withdrawn: "off", draft: "off",
};

export function Status({ of }: { of: string }) {
  return <span className={`status ${TONES[of] ?? "going"}`}>{of.replaceAll("_", " ")}</span>;
}

export function PartyLink({ id }: { id: string }) {
  return (
    <Link to="/parties/$id" params={{ id }} className="id">
      {id}
    </Link>
  );
}

export function OrderLink({ id }: { id: string }) {
  return (
    <Link to="/orders/$id" params={{ id }} className="id">
      {id}
    </Link>
  );
}

export function LotLink({ id, isStaff }: { id: string; isStaff: boolean }) {
  if (!isStaff) return <span className="id">{id}</span>;
  return (
    <Link to="/lots/$id" params={{ id }} className="id">
      {id}
    </Link>
  );
}

/** The version of an item, and when it was written. */
export function Version({ of }: { of: number }) {
  const at = writtenAt(of);
  return (
    <span className="version">
      <span className="id">{of}</span>
      {at && (
        <>
          {" "}
          <span className="quiet">
            written <When at={at} />
          </span>
        </>
      )}
    </span>
  );
}

export function Facts({ of }: { of: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="facts">
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export interface Column<T> {
  title: ReactNode;
  cell: (row: T) => ReactNode;
  numeric?: boolean;
  /** Left out on narrow screens. */
  spare?: boolean;
}

/** A table that scrolls sideways by itself, and can be scrolled with the keyboard. */
export function Table<T>({
  title, columns, rows, id, empty,
}: { title: string; columns: readonly Column<T>[]; rows: readonly T[]; id: (row: T) => string; empty: string }) {
  if (rows.length === 0) return <p className="empty">{empty}</p>;
  const kind = (column: Column<T>) => [column.numeric ? "numeric" : "", column.spare ? "spare" : ""].join(" ").trim() || undefined;
  return (
    <div className="scroll" role="region" aria-label={title} tabIndex={0}>
      <table>
        <caption className="visually-hidden">{title}</caption>
        <thead>
          <tr>
            {columns.map((column, place) => (
              <th key={place} scope="col" className={kind(column)}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)} id={id(row)}>
              {columns.map((column, place) => (
                <td key={place} className={kind(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
