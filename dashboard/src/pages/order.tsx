import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { OrderTree } from "../api/client";
import { readWriters } from "../api/lists";
import { readOrder } from "../api/reads";
import { sign } from "../logic/money";
import { type Part, story, sums } from "../logic/order";
import { writtenAt } from "../logic/time";
import { CorrectOrder } from "../parts/correct";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { Facts, LotLink, Money, PartyLink, Status, Version, When } from "../parts/show";
import { Answer } from "../parts/states";
import { Table } from "../parts/table";

export function OrderPage({ id }: { id: string }) {
  useTitle(`Order ${id}`);
  const { api } = useParts();
  const order = useQuery({ queryKey: ["order", id], queryFn: () => readOrder(api, id) });
  return (
    <>
      <p className="kind">Order</p>
      <h1 className="id">{id}</h1>
      <Answer of={order} what={`order ${id}`}>
        {(tree) => <Whole tree={tree} />}
      </Answer>
    </>
  );
}

function Whole({ tree }: { tree: OrderTree }) {
  const isStaff = usePerson()?.role === "staff";
  const { order } = tree;
  return (
    <>
      <Facts
        of={[
          ["Status", <Status key="s" of={order.status} />],
          ["Placed", <When key="p" at={order.placed_at} />],
          ["Buyer", <PartyLink key="b" id={order.buyer_id} />],
          ["Seller", <PartyLink key="e" id={order.seller_id} />],
          ["Lot", order.lot_id ? <LotLink key="l" id={order.lot_id} isStaff={isStaff} /> : "–"],
          ["ERP quote", order.quote_number ? `${order.quote_number}, version ${order.quote_version ?? "–"}` : "–"],
          ["Version", <Version key="v" of={order._version} />],
        ]}
      />
      {isStaff && <CorrectOrder order={order} />}
      {tree.cursor && (
        <p className="notice" role="alert">
          This order has more items than can be shown; the sums are those of what is shown.
        </p>
      )}
      <Amounts tree={tree} isStaff={isStaff} />
      <Story tree={tree} />
      {isStaff && <Writers id={order.order_id} version={order._version} />}
      <Parts tree={tree} isStaff={isStaff} />
    </>
  );
}

function Amounts({ tree, isStaff }: { tree: OrderTree; isStaff: boolean }) {
  const { currency } = tree.order;
  const found = sums(tree);
  const open = sign(found.open);
  return (
    <section aria-labelledby="amounts">
      <h2 id="amounts">
        Amounts <span className="zone">({currency})</span>
      </h2>
      <div className="columns">
        <Sum title="The buyer owes" parts={found.buyer} total={found.owed} currency={currency} />
        <Sum title="The seller gets" parts={found.seller} total={found.due} currency={currency} />
        <Sum
          title={open >= 0 ? "Open" : found.billed === null ? "Paid beyond the order" : "Paid too much"}
          currency={currency}
          total={found.open}
          parts={[
            found.billed === null
              ? { title: "Owed, nothing billed", amount: found.owed }
              : { title: "Billed to the buyer", amount: found.billed },
            { title: "Paid", amount: negate(found.paid) },
            ...(sign(found.refunded) === 0 ? [] : [{ title: "Given back", amount: found.refunded }]),
          ]}
          note={
            <>
              {found.billed === null && "Shipping and tax are known once an invoice is there. "}
              {sign(found.pending) !== 0 && (
                <>
                  <Money amount={found.pending} currency={currency} /> more is pending.
                </>
              )}
            </>
          }
        />
      </div>
      {found.others > 0 && (
        <p className="notice">
          {found.others} invoices or payments are in other currencies and in none of these sums.
        </p>
      )}
      {!isStaff && <p className="quiet">Invoices and payments of the other party are not shown, and in none of these sums.</p>}
    </section>
  );
}

const negate = (amount: string) => (sign(amount) === 0 ? amount : `-${amount}`);

function Sum({
  title, parts, total, currency, note = null,
}: { title: string; parts: readonly Part[]; total: string; currency: string; note?: ReactNode }) {
  return (
    <div className="card">
      <table className="sum">
        <caption>{title}</caption>
        <tbody>
          {parts.map((part, place) => (
            <tr key={place}>
              <th scope="row">{part.title}</th>
              <td className="numeric">
                <Money amount={part.amount} currency={currency} />
              </td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">Total</th>
            <td className="numeric">
              <Money amount={total} currency={currency} />
            </td>
          </tr>
        </tfoot>
      </table>
      {note && <p className="quiet note">{note}</p>}
    </div>
  );
}

function Story({ tree }: { tree: OrderTree }) {
  return (
    <section aria-labelledby="story">
      <h2 id="story">What happened</h2>
      <ol className="story">
        {story(tree).map((event, place) => (
          <li key={place}>
            <When at={event.at} /> <span className="what">{event.what}</span> <span className="id quiet">{event.id}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Who wrote what last. Read again when the order changed. */
function Writers({ id, version }: { id: string; version: number }) {
  const { api } = useParts();
  const writers = useQuery({ queryKey: ["writers", id, version], queryFn: () => readWriters(api, id) });
  return (
    <section aria-labelledby="writers">
      <h2 id="writers">Who wrote last</h2>
      <Answer of={writers} what="who wrote what">
        {(rows) => (
          <Table
            title={`Who wrote order ${id} and what belongs to it last`}
            rows={rows}
            id={(row) => `by-${row.entity}-${row.key}`}
            empty="Nothing is known of who wrote it."
            columns={[
              { title: "What", value: (row) => row.entity.replaceAll("_", " ").replace(/s$/, "") + (row.deleted ? ", deleted" : "") },
              { title: "Id", value: (row) => row.key, cell: (row) => <span className="id">{row.key}</span> },
              { title: "By", value: (row) => row.by, cell: (row) => <span className="id">{row.by ?? "not known"}</span> },
              { title: "Written", moment: true, value: (row) => writtenAt(row.version), cell: (row) => <When at={writtenAt(row.version) ?? undefined} inTable /> },
              { title: "Version", value: (row) => row.version, cell: (row) => <span className="id quiet">{row.version}</span>, spare: true },
            ]}
          />
        )}
      </Answer>
      <p className="quiet">The last version of each. Earlier ones, with what changed, are in the archive: “Who changed an item?”.</p>
    </section>
  );
}

function Parts({ tree, isStaff }: { tree: OrderTree; isStaff: boolean }) {
  const { currency } = tree.order;
  return (
    <>
      <h2>Lines</h2>
      <Table
        title="Lines of the order"
        rows={tree.order_lines}
        id={(line) => `line-${line.line_number}`}
        empty="The order has no lines."
        columns={[
          { title: "No.", value: (line) => line.line_number, numeric: true },
          { title: "Lot", value: (line) => line.lot_id, cell: (line) => (line.lot_id ? <LotLink id={line.lot_id} isStaff={isStaff} /> : "–") },
          { title: "Description", value: (line) => line.description },
          { title: "Quantity", value: (line) => line.quantity, numeric: true },
          { title: "Hammer price", value: (line) => line.hammer_price, cell: (line) => <Money amount={line.hammer_price} currency={currency} />, numeric: true },
          { title: "Version", value: (line) => line._version, cell: (line) => <span className="id quiet">{line._version}</span>, spare: true },
        ]}
      />
      <h2>Invoices</h2>
      <Table
        title="Invoices of the order"
        rows={tree.invoices}
        id={(invoice) => invoice.invoice_id}
        empty="Nothing was invoiced."
        columns={[
          { title: "Invoice", value: (i) => i.invoice_id, cell: (i) => <span className="id">{i.invoice_id}</span> },
          { title: "To", value: (i) => `${i.role} ${i.party_id}`, cell: (i) => <>{i.role} <PartyLink id={i.party_id} /></> },
          { title: "Status", value: (i) => i.status, cell: (i) => <Status of={i.status} /> },
          { title: "Issued", moment: true, value: (i) => i.issued_at, cell: (i) => <When at={i.issued_at} inTable /> },
          { title: "Due", moment: true, value: (i) => i.due_at, cell: (i) => <When at={i.due_at} inTable />, spare: true },
          { title: "Tax in it", value: (i) => i.tax_amount, cell: (i) => <Money amount={i.tax_amount} currency={i.currency} />, numeric: true },
          { title: "Currency", value: (i) => i.currency, spare: true },
          { title: "Total", value: (i) => i.total_amount, cell: (i) => <Money amount={i.total_amount} currency={i.currency} />, numeric: true },
          { title: "Version", value: (i) => i._version, cell: (i) => <span className="id quiet">{i._version}</span>, spare: true },
        ]}
      />
      {tree.invoice_lines.length > 0 && (
        <>
          <h3>Their lines</h3>
          <Table
            title="Lines of the invoices"
            rows={[...tree.invoice_lines].sort((a, b) => a.invoice_id.localeCompare(b.invoice_id) || a.line_number - b.line_number)}
            id={(line) => `${line.invoice_id}-${line.line_number}`}
            empty=""
            columns={[
              { title: "Invoice", value: (line) => line.invoice_id, cell: (line) => <span className="id">{line.invoice_id}</span> },
              { title: "No.", value: (line) => line.line_number, numeric: true },
              { title: "For", value: (line) => line.description ?? line.kind.replaceAll("_", " ") },
              {
                title: "Amount", numeric: true, value: (line) => line.amount,
                cell: (line) => (
                  <Money amount={line.amount} currency={tree.invoices.find((i) => i.invoice_id === line.invoice_id)?.currency ?? currency} />
                ),
              },
            ]}
          />
        </>
      )}
      <h2>Payments and refunds</h2>
      <Table
        title="Payments and refunds of the order"
        rows={tree.payments}
        id={(payment) => payment.payment_id}
        empty="Nothing was paid."
        columns={[
          { title: "Payment", value: (p) => p.payment_id, cell: (p) => <span className="id">{p.payment_id}</span> },
          { title: "Kind", value: (p) => p.kind },
          { title: "Method", value: (p) => p.method.replaceAll("_", " ") },
          { title: "Status", value: (p) => p.status, cell: (p) => <Status of={p.status} /> },
          { title: "Begun", moment: true, value: (p) => p.created_at, cell: (p) => <When at={p.created_at} inTable /> },
          { title: "Invoice", value: (p) => p.invoice_id, cell: (p) => (p.invoice_id ? <span className="id">{p.invoice_id}</span> : "–"), spare: true },
          { title: "Currency", value: (p) => p.currency, spare: true },
          { title: "Processing fee", value: (p) => p.processing_fee, cell: (p) => <Money amount={p.processing_fee} currency={p.currency} />, numeric: true, spare: true },
          { title: "Amount", value: (p) => (p.kind === "refund" ? negate(p.amount) : p.amount), cell: (p) => <Money amount={p.kind === "refund" ? negate(p.amount) : p.amount} currency={p.currency} />, numeric: true },
          { title: "Version", value: (p) => p._version, cell: (p) => <span className="id quiet">{p._version}</span>, spare: true },
        ]}
      />
      <h2>Shipments</h2>
      <Table
        title="Shipments of the order"
        rows={tree.shipments}
        id={(shipment) => shipment.shipment_id}
        empty="Nothing was shipped."
        columns={[
          { title: "Shipment", value: (s) => s.shipment_id, cell: (s) => <span className="id">{s.shipment_id}</span> },
          { title: "Carrier", value: (s) => s.carrier },
          { title: "Tracking", value: (s) => s.tracking_number, cell: (s) => (s.tracking_number ? <span className="id">{s.tracking_number}</span> : "–") },
          { title: "Status", value: (s) => s.status, cell: (s) => <Status of={s.status} /> },
          { title: "Promised", moment: true, value: (s) => s.promised_at, cell: (s) => <When at={s.promised_at} inTable /> },
          { title: "Delivered", moment: true, value: (s) => s.delivered_at, cell: (s) => <When at={s.delivered_at} inTable /> },
          { title: "Currency", value: (s) => s.currency, spare: true },
          { title: "Cost", value: (s) => s.cost, cell: (s) => <Money amount={s.cost} currency={s.currency} />, numeric: true },
          { title: "Version", value: (s) => s._version, cell: (s) => <span className="id quiet">{s._version}</span>, spare: true },
        ]}
      />
    </>
  );
}
