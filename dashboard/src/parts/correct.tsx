/** Correcting an order, over the version that was read: what another person wrote meanwhile is shown, not overwritten. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { answered, type Order, Problem } from "../api/client";
import { readOrder } from "../api/reads";
import { changed, meanwhile, rebased, type Values } from "../logic/correction";
import { useParts } from "./context";
import { Failure } from "./states";

const STATES = ["placed", "invoiced", "paid", "shipped", "delivered", "completed", "cancelled", "refunded"] as const satisfies readonly Order["status"][];
const TITLES = {
  status: "Status", hammer_price: "Hammer price", buyers_premium: "Buyer's premium", sellers_commission: "Seller's commission",
} as const;
type Field = keyof typeof TITLES;
const FIELDS = Object.keys(TITLES) as Field[];

const valuesOf = (order: Order): Values => Object.fromEntries(FIELDS.map((field) => [field, order[field] ?? ""]));

export function CorrectOrder({ order }: { order: Order }) {
  const [open, setOpen] = useState(false);
  const [done, setDone] = useState(false);
  if (open) {
    const close = (saved: boolean) => {
      setOpen(false);
      setDone(saved);
    };
    return <Form order={order} close={close} />;
  }
  return (
    <p className="more">
      <button type="button" onClick={() => setOpen(true)}>
        Correct the order
      </button>
      <span role="status">{done && "The correction is written."}</span>
    </p>
  );
}

function Form({ order, close }: { order: Order; close: (saved: boolean) => void }) {
  const { api } = useParts();
  const queries = useQueryClient();
  // What was read when the form was opened, or when the person last saw what is there: the page may be read again meanwhile.
  const [read, setRead] = useState(order);
  const [theirs, setTheirs] = useState<Order | null>(null);
  const [draft, setDraft] = useState<Values>(() => valuesOf(order));
  const first = useRef<HTMLSelectElement>(null);
  useEffect(() => first.current?.focus(), []);
  const write = useMutation({
    mutationFn: async () => {
      const path = { order_id: read.order_id };
      const body = changed(valuesOf(read), draft) as Record<string, never>;
      try {
        await answered(api.PATCH("/orders/{order_id}", { params: { path, header: { "If-Match": String(read._version) } }, body }));
      } catch (error) {
        if (error instanceof Problem && error.kind === "conflict") {
          const { order: now } = await readOrder(api, read.order_id);
          if (now._version !== read._version) setTheirs(now); // else many write at once, and the same can be tried again
        }
        throw error;
      }
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["order", read.order_id] });
      close(true);
    },
  });
  const save = (event: FormEvent) => {
    event.preventDefault();
    write.mutate();
  };
  const goOn = (over: Order) => {
    setDraft(rebased(valuesOf(read), valuesOf(over), draft));
    setRead(over);
    setTheirs(null);
    write.reset();
  };
  const problem = write.error instanceof Problem ? write.error : null;
  const reason = (field: Field) => problem?.fields.find((each) => each.field === field)?.reason;
  const nothing = Object.keys(changed(valuesOf(read), draft)).length === 0;
  return (
    <form className="card correct" onSubmit={save} aria-label="Correct the order">
      {FIELDS.map((field) => (
        <div key={field}>
          <label htmlFor={`correct-${field}`}>{TITLES[field]}</label>
          {field === "status" ? (
            <select id="correct-status" ref={first} value={draft.status} onChange={(e) => setDraft({ ...draft, status: e.target.value })}>
              {STATES.map((state) => <option key={state}>{state}</option>)}
            </select>
          ) : (
            <input id={`correct-${field}`} inputMode="decimal" autoComplete="off" value={draft[field]} aria-invalid={reason(field) !== undefined}
              aria-describedby={`reason-${field}`} onChange={(e) => setDraft({ ...draft, [field]: e.target.value })} />
          )}
          <span className="reason" id={`reason-${field}`}>{reason(field)}</span>
        </div>
      ))}
      {theirs !== null ? (
        <Conflict read={read} theirs={theirs} draft={draft} goOn={() => goOn(theirs)} giveUp={() => {
          void queries.invalidateQueries({ queryKey: ["order", read.order_id] });
          close(false);
        }} />
      ) : (
        <>
          {write.isError && <Failure error={write.error} />}
          <p className="row">
            <button type="submit" className="primary" disabled={nothing || write.isPending}>
              {write.isPending ? "Writing…" : "Write the correction"}
            </button>
            <button type="button" onClick={() => close(false)}>Cancel</button>
          </p>
        </>
      )}
    </form>
  );
}

function Conflict({
  read, theirs, draft, goOn, giveUp,
}: { read: Order; theirs: Order; draft: Values; goOn: () => void; giveUp: () => void }) {
  const found = meanwhile(valuesOf(read), valuesOf(theirs), draft);
  return (
    <div className="stop" role="alert">
      <h3>Somebody else has changed this order meanwhile</h3>
      <p>Nothing of yours was written. {found.length === 0 && "None of these fields was changed, but others were."}</p>
      {found.length > 0 && (
        <div className="scroll">
          <table>
            <thead>
              <tr><th scope="col">Field</th><th scope="col">You had read</th><th scope="col">There is now</th><th scope="col">You would write</th></tr>
            </thead>
            <tbody>
              {found.map((each) => (
                <tr key={each.field}>
                  <th scope="row">{TITLES[each.field as Field]}</th><td>{each.read || "–"}</td><td>{each.theirs || "–"}</td>
                  <td>{each.mine === null ? "stays as it is now" : each.mine || "nothing"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p className="row">
        <button type="button" onClick={goOn}>Go on over what is there now</button>
        <button type="button" onClick={giveUp}>Give up mine</button>
      </p>
    </div>
  );
}
