/** Items of any entity in one table: what they are, what is known of them without opening them, and who wrote them. */

import { Link } from "@tanstack/react-router";
import { identity, isEntity, KINDS, type Row } from "../api/lists";
import { writtenAt } from "../logic/time";
import { LotLink, Money, OrderLink, PartyLink, Status, When } from "./show";
import { Table } from "./table";

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

const amount = ({ item }: Row) => text(item.hammer_price) ?? text(item.total_amount) ?? text(item.amount) ?? text(item.cost);

const about = ({ item }: Row) =>
  text(item.title) ?? text(item.name) ?? ([item.buyer_id, item.seller_id, item.party_id].filter(text).join(" · ") || null);

export function Rows({ title, rows, empty }: { title: string; rows: readonly Row[]; empty: string }) {
  return (
    <Table
      title={title}
      rows={rows}
      id={identity}
      empty={empty}
      columns={[
        { title: "What", value: (row) => (isEntity(row.entity) ? KINDS[row.entity].one : row.entity) },
        { title: "Id", value: (row) => row.key, cell: (row) => <Open row={row} /> },
        { title: "Status", value: (row) => text(row.item.status), cell: (row) => <Status of={text(row.item.status) ?? "–"} /> },
        { title: "About", value: about, cell: (row) => <bdi className="about">{about(row) ?? "–"}</bdi>, spare: true },
        { title: "Currency", value: (row) => text(row.item.currency), spare: true },
        {
          title: "Amount", value: amount, numeric: true, spare: true,
          cell: (row) => <Money amount={amount(row)} currency={text(row.item.currency) ?? ""} />,
        },
        {
          title: "Written", moment: true, value: (row) => writtenAt(row.version),
          cell: (row) => <When at={writtenAt(row.version) ?? undefined} inTable />,
        },
        { title: "By", value: (row) => row.by, spare: true, cell: (row) => <span className="id quiet">{row.by ?? "–"}</span> },
      ]}
    />
  );
}

function Open({ row }: { row: Row }) {
  if (row.entity === "customers") return <PartyLink id={row.key} />;
  if (row.entity === "lots") return <LotLink id={row.key} isStaff />;
  if (row.entity === "orders") return <OrderLink id={row.key} />;
  return <Link to="/orders/$id" params={{ id: text(row.item.order_id) ?? "" }} hash={row.key} className="id">{row.key}</Link>;
}
