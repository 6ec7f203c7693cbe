import { useQuery } from "@tanstack/react-query";
import { Link, Navigate, useNavigate } from "@tanstack/react-router";
import { type FormEvent, useEffect, useRef } from "react";
import { findById, type Found } from "../api/reads";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { LotLink, OrderLink, PartyLink, Status } from "../parts/show";
import { Answer, Empty } from "../parts/states";
import { Table } from "../parts/table";
import { Listed, ListForm, Recently, type Wanted } from "./lists";

/** One field for every kind of id. The id is in the address, so that a search can be kept and sent. */
export function FindPage({ id, wanted }: { id: string | null; wanted: Wanted | null }) {
  useTitle("Find");
  const { api } = useParts();
  const person = usePerson();
  const isStaff = person?.role === "staff";
  const navigate = useNavigate();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (field.current) field.current.value = id ?? "";
  }, [id]);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "/" && !typing) {
        event.preventDefault();
        field.current?.focus();
      }
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  const found = useQuery({
    queryKey: ["find", id],
    queryFn: () => findById(api, id ?? "", isStaff),
    enabled: id !== null,
  });
  const search = (event: FormEvent) => {
    event.preventDefault();
    const wanted = field.current?.value.trim() ?? "";
    void navigate({ to: "/", search: wanted === "" ? {} : { id: wanted } });
  };
  if (person?.role === "auditor") return <Navigate to="/archive" replace />;
  return (
    <>
      <h1>Find</h1>
      <form role="search" className="find" onSubmit={search}>
        <label htmlFor="id">
          Id of {isStaff ? "an order, party, lot, invoice, payment or shipment" : "one of your orders, invoices, payments or shipments"}
        </label>
        <div className="row">
          <input id="id" ref={field} type="search" name="id" defaultValue={id ?? ""} autoComplete="off" spellCheck={false}
            autoCapitalize="none" maxLength={200} autoFocus />
          <button type="submit" className="primary">
            Find
          </button>
        </div>
        <p className="quiet">Press / to come back to this field.</p>
      </form>
      {isStaff && <ListForm key={JSON.stringify(wanted)} wanted={wanted} />}
      {isStaff && id === null && (wanted === null ? <Recently /> : <Listed wanted={wanted} />)}
      {id !== null && (
        <section aria-labelledby="found" aria-live="polite">
          <h2 id="found">Found</h2>
          <Answer of={found} what="what has this id">
            {(all) =>
              all.length === 0 ? (
                <Empty>Nothing has the id {id}. Ids are compared letter by letter, capital letters too.</Empty>
              ) : (
                <Table
                  title={`What has the id ${id}`}
                  rows={all}
                  id={(each) => each.entity}
                  empty=""
                  columns={[
                    { title: "What", value: (each) => each.entity },
                    { title: "Id", value: (each) => each.id, cell: (each) => <Open found={each} isStaff={isStaff} /> },
                    { title: "Status", value: (each) => each.status, cell: (each) => <Status of={each.status} /> },
                    { title: "About", value: (each) => each.note, cell: (each) => <bdi className="about">{each.note}</bdi> },
                    { title: "Order", spare: true, value: (each) => each.order, cell: (each) => (each.order === null ? "–" : <OrderLink id={each.order} />) },
                  ]}
                />
              )
            }
          </Answer>
        </section>
      )}
    </>
  );
}

function Open({ found, isStaff }: { found: Found; isStaff: boolean }) {
  switch (found.entity) {
    case "party":
      return <PartyLink id={found.id} />;
    case "lot":
      return <LotLink id={found.id} isStaff={isStaff} />;
    case "order":
      return <OrderLink id={found.id} />;
    default:
      return (
        <Link to="/orders/$id" params={{ id: found.order ?? "" }} hash={found.id} className="id">
          {found.id}
        </Link>
      );
  }
}
