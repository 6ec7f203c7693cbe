/** What staff find without an id: by status, by name, and what was written last. */

import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { type Entity, isEntity, KINDS, readList, readRecent, type Row } from "../api/lists";
import { useParts } from "../parts/context";
import { Rows } from "../parts/rows";
import { Answer, Failure, Loading, More } from "../parts/states";

export interface Wanted {
  list: Entity;
  status?: string;
  name?: string;
}

const NAMED: readonly Entity[] = ["customers", "lots"];
const EVERY = 3_000; // milliseconds
const MOST = 100;

export function ListForm({ wanted }: { wanted: Wanted | null }) {
  const navigate = useNavigate();
  const [entity, setEntity] = useState<Entity>(wanted?.list ?? "orders");
  const search = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const found = new FormData(event.currentTarget);
    const name = String(found.get("name") ?? "").trim();
    const status = String(found.get("status") ?? "");
    void navigate({ to: "/", search: { list: entity, ...(name ? { name } : { status }) } });
  };
  return (
    <form className="find by" onSubmit={search} aria-label="Find by status or name">
      <div>
        <label htmlFor="list">List</label>
        <select id="list" value={entity} onChange={(e) => isEntity(e.target.value) && setEntity(e.target.value)}>
          {Object.entries(KINDS).map(([name, kind]) => <option key={name} value={name}>{kind.many}</option>)}
        </select>
      </div>
      <div>
        <label htmlFor="status">Status</label>
        <select id="status" name="status" key={entity} defaultValue={wanted?.status}>
          {KINDS[entity].statuses.map((status) => <option key={status}>{status}</option>)}
        </select>
      </div>
      {NAMED.includes(entity) && (
        <div>
          <label htmlFor="name">Or {entity === "lots" ? "title" : "name"} begins with</label>
          <input id="name" name="name" defaultValue={wanted?.name} autoComplete="off" minLength={2} maxLength={60} dir="auto" />
        </div>
      )}
      <button type="submit">List</button>
    </form>
  );
}

export function Listed({ wanted }: { wanted: Wanted }) {
  const { api } = useParts();
  const { list, status, name } = wanted;
  const pages = useInfiniteQuery({
    queryKey: ["list", list, status ?? null, name ?? null],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) => readList(api, list, name ? { name } : { status: status ?? "" }, pageParam),
    getNextPageParam: (page) => page.cursor,
  });
  const title = `${KINDS[list].many} ${name ? `whose name begins with ${name}` : `that are ${status}`}`;
  const rows = pages.data?.pages.flatMap((page) => page.rows) ?? [];
  return (
    <section>
      <h2>{title}</h2>
      {pages.data === undefined ? (
        pages.isError ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : <Loading what={title} />
      ) : (
        <>
          <Rows title={title} rows={rows} empty={name ? "No name begins so. Only beginnings are found, whatever the case and accents." : "There are none."} />
          <More of={pages} count={rows.length} one="row" many="rows" />
        </>
      )}
    </section>
  );
}

/** Read again every few seconds while the page is in sight. */
export function Recently() {
  const { api } = useParts();
  const queries = useQueryClient();
  const [paused, setPaused] = useState(false);
  const recent = useQuery({
    queryKey: ["recent"],
    queryFn: () => readRecent(api, queries.getQueryData<Row[]>(["recent"]) ?? [], MOST),
    refetchInterval: paused ? false : EVERY,
    refetchIntervalInBackground: false,
    staleTime: 0,
  });
  return (
    <section aria-labelledby="recently">
      <h2 id="recently">Written last, by anybody</h2>
      <p className="quiet">
        {paused ? "Stands still." : `Read again every ${EVERY / 1000} seconds while you look.`}{" "}
        <button type="button" className="link" aria-pressed={paused} onClick={() => setPaused(!paused)}>{paused ? "Go on" : "Pause"}</button>
      </p>
      <Answer of={recent} what="what was written last">
        {(rows) => <Rows title="Written last" rows={rows} empty="Nothing has been written yet." />}
      </Answer>
    </section>
  );
}
