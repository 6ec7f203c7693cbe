/** Small parts that pages show values with. */

import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { shown, sign } from "../logic/money";
import { moment, short, writtenAt } from "../logic/time";

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
