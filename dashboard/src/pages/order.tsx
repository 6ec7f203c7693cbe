import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { OrderTree } from "../api/client";
import { readOrder } from "../api/reads";
import { sign } from "../logic/money";
import { type Part, story, sums } from "../logic/order";
import { CorrectOrder } from "../parts/correct";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { Facts, LotLink, Money, PartyLink, Status, Table, Version, When, WhenHeading } from "../parts/show";
import { Answer } from "../parts/states";

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
          { title: "No.", cell: (line) => line.line_number, numeric: true },
          { title: "Lot", cell: (line) => (line.lot_id ? <LotLink id={line.lot_id} isStaff={isStaff} /> : "–") },
          { title: "Description", cell: (line) => line.description ?? "–" },
          { title: "Quantity", cell: (line) => line.quantity, numeric: true },
          { title: "Hammer price", cell: (line) => <Money amount={line.hammer_price} currency={currency} />, numeric: true },
          { title: "Version", cell: (line) => <span className="id quiet">{line._version}</span>, spare: true },
        ]}
      />
      <h2>Invoices</h2>
      <Table
        title="Invoices of the order"
        rows={tree.invoices}
        id={(invoice) => invoice.invoice_id}
        empty="Nothing was invoiced."
        columns={[
          { title: "Invoice", cell: (i) => <span className="id">{i.invoice_id}</span> },
          { title: "To", cell: (i) => <>{i.role} <PartyLink id={i.party_id} /></> },
          { title: "Status", cell: (i) => <Status of={i.status} /> },
          { title: <WhenHeading>Issued</WhenHeading>, cell: (i) => <When at={i.issued_at} inTable /> },
          { title: <WhenHeading>Due</WhenHeading>, cell: (i) => <When at={i.due_at} inTable />, spare: true },
          { title: "Tax in it", cell: (i) => <Money amount={i.tax_amount} currency={i.currency} />, numeric: true },
          { title: "Total", cell: (i) => <Money amount={i.total_amount} currency={i.currency} />, numeric: true },
          { title: "Version", cell: (i) => <span className="id quiet">{i._version}</span>, spare: true },
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
              { title: "Invoice", cell: (line) => <span className="id">{line.invoice_id}</span> },
              { title: "No.", cell: (line) => line.line_number, numeric: true },
              { title: "For", cell: (line) => line.description ?? line.kind.replaceAll("_", " ") },
              {
                title: "Amount", numeric: true,
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
          { title: "Payment", cell: (p) => <span className="id">{p.payment_id}</span> },
          { title: "Kind", cell: (p) => p.kind },
          { title: "Method", cell: (p) => p.method.replaceAll("_", " ") },
          { title: "Status", cell: (p) => <Status of={p.status} /> },
          { title: <WhenHeading>Begun</WhenHeading>, cell: (p) => <When at={p.created_at} inTable /> },
          { title: "Invoice", cell: (p) => (p.invoice_id ? <span className="id">{p.invoice_id}</span> : "–"), spare: true },
          { title: "Processing fee", cell: (p) => <Money amount={p.processing_fee} currency={p.currency} />, numeric: true, spare: true },
          { title: "Amount", cell: (p) => <Money amount={p.kind === "refund" ? negate(p.amount) : p.amount} currency={p.currency} />, numeric: true },
          { title: "Version", cell: (p) => <span className="id quiet">{p._version}</span>, spare: true },
        ]}
      />
      <h2>Shipments</h2>
      <Table
        title="Shipments of the order"
        rows={tree.shipments}
        id={(shipment) => shipment.shipment_id}
        empty="Nothing was shipped."
        columns={[
          { title: "Shipment", cell: (s) => <span className="id">{s.shipment_id}</span> },
          { title: "Carrier", cell: (s) => s.carrier },
          { title: "Tracking", cell: (s) => (s.tracking_number ? <span className="id">{s.tracking_number}</span> : "–") },
          { title: "Status", cell: (s) => <Status of={s.status} /> },
          { title: <WhenHeading>Promised</WhenHeading>, cell: (s) => <When at={s.promised_at} inTable /> },
          { title: <WhenHeading>Delivered</WhenHeading>, cell: (s) => <When at={s.delivered_at} inTable /> },
          { title: "Cost", cell: (s) => <Money amount={s.cost} currency={s.currency} />, numeric: true },
          { title: "Version", cell: (s) => <span className="id quiet">{s._version}</span>, spare: true },
        ]}
      />
    </>
  );
}
