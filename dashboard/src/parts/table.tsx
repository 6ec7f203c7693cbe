/** Tables: each can be scrolled with the keyboard and saved as CSV; of a long one only the rows in sight are drawn. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useRef } from "react";
import { type Cell, csv } from "../logic/csv";
import { ZONE } from "../logic/time";

export interface Column<T> {
  title: string;
  /** What the cell holds: in the file, and on the page where `cell` does not say how to show it. */
  value: (row: T) => Cell;
  cell?: (row: T) => ReactNode;
  numeric?: boolean;
  /** It holds moments: the heading says in which zone. */
  moment?: boolean;
  /** Left out on narrow screens. */
  spare?: boolean;
}

interface Rows<T> {
  title: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  id: (row: T) => string;
}

const MANY = 200;
const ROW = 33;

export function Table<T>({ empty, ...of }: Rows<T> & { empty: string }) {
  if (of.rows.length === 0) return <p className="empty">{empty}</p>;
  return (
    <>
      {of.rows.length > MANY ? <Long {...of} /> : <Whole {...of} />}
      <p className="save">
        <button type="button" className="link" onClick={() => save(of)}>
          Save as CSV<span className="visually-hidden">: {of.title}</span>
        </button>
      </p>
    </>
  );
}

/** Hand a table to the browser as a file. */
export function saveCsv(title: string, headings: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const address = URL.createObjectURL(new Blob([csv(headings, rows)], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${title.replaceAll(/[^\p{L}\p{N}]+/gu, "-").slice(0, 80)}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function save<T>({ title, columns, rows }: Rows<T>): void {
  saveCsv(title, columns.map((column) => column.title), rows.map((row) => columns.map((column) => column.value(row))));
}

const look = (column: { numeric?: boolean; spare?: boolean }) =>
  [column.numeric ? "numeric" : "", column.spare ? "spare" : ""].join(" ").trim() || undefined;

function Head<T>({ title, columns }: { title: string; columns: readonly Column<T>[] }) {
  return (
    <>
      <caption className="visually-hidden">{title}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            // A zone has two short names a year, and rows of both: its long one is true.
            <th key={column.title} scope="col" className={look(column)}>
              {column.title}{column.moment && <> <span className="zone">({ZONE})</span></>}
            </th>
          ))}
        </tr>
      </thead>
    </>
  );
}

function Cells<T>({ columns, row }: { columns: readonly Column<T>[]; row: T }) {
  return columns.map((column) => (
    <td key={column.title} className={look(column)}>
      {column.cell ? column.cell(row) : column.value(row) ?? "–"}
    </td>
  ));
}

function Whole<T>({ title, columns, rows, id }: Rows<T>) {
  return (
    <div className="scroll" role="region" aria-label={title} tabIndex={0}>
      <table>
        <Head title={title} columns={columns} />
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)} id={id(row)}><Cells columns={columns} row={row} /></tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Long<T>({ title, columns, rows, id }: Rows<T>) {
  const box = useRef<HTMLDivElement>(null);
  const drawn = useVirtualizer({
    count: rows.length, getScrollElement: () => box.current, estimateSize: () => ROW, overscan: 12,
    getItemKey: (place) => id(rows[place] as T),
  });
  const items = drawn.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = drawn.getTotalSize() - (items.at(-1)?.end ?? 0);
  return (
    <div className="scroll long" role="region" aria-label={title} tabIndex={0} ref={box}>
      <table aria-rowcount={rows.length + 1}>
        <Head title={title} columns={columns} />
        <tbody>
          <Gap height={before} across={columns.length} />
          {items.map((item) => (
            <tr key={item.key} data-index={item.index} ref={drawn.measureElement} aria-rowindex={item.index + 2}>
              <Cells columns={columns} row={rows[item.index] as T} />
            </tr>
          ))}
          <Gap height={after} across={columns.length} />
        </tbody>
      </table>
    </div>
  );
}

function Gap({ height, across }: { height: number; across: number }) {
  return height <= 0 ? null : <tr aria-hidden="true" className="gap"><td colSpan={across} style={{ height }} /></tr>;
}
