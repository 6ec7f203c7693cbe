/** What pages show when they have nothing to show: loading, empty, and each way to fail, with what to do. */

import type { UseInfiniteQueryResult, UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { type Kind, Problem } from "../api/client";

export function Loading({ what }: { what: string }) {
  return (
    <div className="state" role="status" aria-live="polite">
      <span className="visually-hidden">Loading {what}</span>
      <div className="bone" />
      <div className="bone" />
      <div className="bone" />
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="empty">{children}</p>;
}

/** A message that takes a page's, or a part's, place. */
export function Stop({ title, children, urgent = true }: { title: string; children: ReactNode; urgent?: boolean }) {
  return (
    <section className="stop" role={urgent ? "alert" : undefined}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

const TITLES: Readonly<Record<Kind, string>> = {
  expired: "Your session has ended",
  forbidden: "You may not see this",
  absent: "There is no such thing",
  conflict: "Somebody else has changed this",
  refused: "This request cannot be carried out",
  busy: "The service is busy",
  offline: "The service cannot be reached",
  failed: "Something went wrong",
};

const HINTS: Partial<Readonly<Record<Kind, string>>> = {
  forbidden: "Your account is not allowed to read it. Ask an administrator if you need it.",
  absent: "Nothing has this id, or it is not yours.",
  busy: "Too many requests, or the table is being written by many. Try again in a moment.",
  offline: "Check your connection. What was shown before may be old.",
};

export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof Problem ? error : new Problem("failed", String(error));
  const hint = HINTS[problem.kind];
  return (
    <Stop title={TITLES[problem.kind]} urgent={problem.kind !== "absent"}>
      <p>{hint ?? problem.message}</p>
      {problem.instance && problem.kind === "failed" && <p className="quiet">Reference: {problem.instance}</p>}
      {retry && problem.kind !== "forbidden" && problem.kind !== "absent" && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </Stop>
  );
}

/** A query's answer, or the state that it is in. An answer that could not be renewed stays, and says so. */
export function Answer<T>({ of, what, children }: { of: UseQueryResult<T>; what: string; children: (data: T) => ReactNode }) {
  if (of.data === undefined) {
    return of.isError ? <Failure error={of.error} retry={() => void of.refetch()} /> : <Loading what={what} />;
  }
  return (
    <>
      {of.isError && (
        <p className="notice" role="alert">
          This could not be read again and may be old.{" "}
          <button type="button" className="link" onClick={() => void of.refetch()}>
            Try again
          </button>
        </p>
      )}
      {children(of.data)}
    </>
  );
}

/** Under a table that comes page by page: how many rows it has, and the way to more. */
export function More({ of, count, one, many }: { of: UseInfiniteQueryResult; count: number; one: string; many: string }) {
  return (
    <>
      {count > 0 && (
        <p className="more">
          <span aria-live="polite">
            {count.toLocaleString()} {count === 1 ? one : many}{of.hasNextPage ? ", and more" : ""}.
          </span>{" "}
          {of.hasNextPage && (
            <button type="button" disabled={of.isFetchingNextPage} onClick={() => void of.fetchNextPage()}>
              {of.isFetchingNextPage ? "Loading…" : "Show more"}
            </button>
          )}
        </p>
      )}
      {of.isFetchNextPageError && <Failure error={of.error} retry={() => void of.fetchNextPage()} />}
    </>
  );
}
