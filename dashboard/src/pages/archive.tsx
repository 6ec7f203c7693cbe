/** Questions to the archive, for staff and auditors: put here, answered by the pipeline, shown when the answer is there. */

import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { type Answer as Given, put, type Question, type Questions, readAnswer, readQuestions } from "../api/archive";
import { Problem } from "../api/client";
import { type Wanted, columns, isNumeric, leads, phrases, type Row, said, search, words } from "../logic/archive";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { LotLink, OrderLink, PartyLink, Status, When } from "../parts/show";
import { Answer, Empty, Failure, Loading, More, Stop } from "../parts/states";
import { Table } from "../parts/table";

const EVERY = 3_000; // milliseconds
/** The link to the page for people is good for five minutes. */
const LINK = 240_000;
const MOST_TEXT = 2_048;

export function ArchivePage({ wanted }: { wanted: Wanted }) {
  useTitle("Archive");
  const { api } = useParts();
  const role = usePerson()?.role;
  const mayAsk = role === "staff" || role === "auditor";
  const questions = useQuery({ queryKey: ["archive questions"], queryFn: () => readQuestions(api), enabled: mayAsk });
  if (!mayAsk) {
    return (
      <>
        <h1>Archive</h1>
        <Stop title="You may not see this"><p>Questions over all that was ever written are for staff and auditors only.</p></Stop>
      </>
    );
  }
  return (
    <>
      <h1>Archive</h1>
      <p className="quiet">Every change that was ever made is kept. The pipeline answers what can only be answered from there.</p>
      <Answer of={questions} what="the questions">
        {(all) => <Choice all={all} wanted={wanted} />}
      </Answer>
      {wanted.answer !== null && <AnswerOf key={wanted.answer} id={wanted.answer} />}
    </>
  );
}

function Choice({ all, wanted }: { all: Questions; wanted: Wanted }) {
  const names = Object.keys(all).sort();
  const name = wanted.question;
  const chosen = name === null ? undefined : all[name];
  if (names.length === 0) return <Empty>No question is known yet. They come with the pipeline's first look for questions.</Empty>;
  return (
    <>
      <nav className="choice" aria-label="Questions">
        {names.map((each) => (
          <Link key={each} to="/archive" search={{ question: each }} resetScroll={false} activeOptions={{ exact: true, includeSearch: true }}
            aria-current={each === name ? "true" : undefined}>
            <strong>{all[each]?.title}</strong>
            <span className="quiet">{phrases(all[each]?.text ?? "").map((piece, place) => piece.isParameter ? <em key={place}>{words(piece.said).toLowerCase()}</em> : piece.said)}</span>
          </Link>
        ))}
      </nav>
      {name !== null && (chosen === undefined
        ? <Stop title="There is no such question" urgent={false}><p>None has the name {name}, or you may not put it. Choose one of those above.</p></Stop>
        : <QuestionForm key={name} name={name} question={chosen} wanted={wanted} />)}
    </>
  );
}

function QuestionForm({ name, question, wanted }: { name: string; question: Question; wanted: Wanted }) {
  const { api } = useParts();
  const navigate = useNavigate();
  const [values, setValues] = useState(wanted.parameters);
  const address = JSON.stringify(wanted.parameters);
  useEffect(() => setValues(JSON.parse(address) as Wanted["parameters"]), [address]);
  const parameters = Object.fromEntries(Object.keys(question.parameters).map((each) => [each, (values[each] ?? "").trim()]));
  const asking = useMutation({
    mutationFn: () => put(api, name, parameters),
    onSuccess: (answer) => navigate({ to: "/archive", search: search({ question: name, parameters, answer }), resetScroll: false }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!asking.isPending) asking.mutate();
  };
  return (
    <form className="card question" onSubmit={submit} aria-labelledby="chosen">
      <h2 id="chosen">{question.title}</h2>
      {Object.entries(question.parameters).map(([each, meaning]) => (
        <div key={each}>
          <label htmlFor={`of-${each}`}>{words(each)}</label>
          <input id={`of-${each}`} value={values[each] ?? ""} onChange={(e) => setValues({ ...values, [each]: e.target.value })}
            aria-describedby={`means-${each}`} required autoComplete="off" autoCapitalize="none" spellCheck={false} maxLength={MOST_TEXT} />
          <span className="quiet" id={`means-${each}`}>{words(meaning)}</span>
        </div>
      ))}
      <p>
        <button type="submit" className="primary" aria-disabled={asking.isPending}>{asking.isPending ? "Putting it…" : "Put the question"}</button>
      </p>
      {asking.isError && <NotPut error={asking.error} />}
    </form>
  );
}

function NotPut({ error }: { error: unknown }) {
  if (error instanceof Problem && error.type === "urn:gavel:problem:too-many-questions") {
    return (
      <Stop title="Too many of your questions wait">
        <p>Nothing was put. Put it again once one of those that wait is answered; each is at the address where you put it.</p>
      </Stop>
    );
  }
  if (error instanceof Problem && error.kind === "absent") {
    return <Stop title="There is no such question any more"><p>Reload the page for those that there are.</p></Stop>;
  }
  return <Failure error={error} />;
}

/** An answer, awaited as long as it is not there. */
function AnswerOf({ id }: { id: string }) {
  const { api } = useParts();
  const pages = useInfiniteQuery({
    queryKey: ["archive answer", id],
    initialPageParam: 1,
    queryFn: ({ pageParam }) => readAnswer(api, id, pageParam),
    getNextPageParam: ({ page_number: page, pages: all }) => (page !== undefined && all !== undefined && page < all ? page + 1 : undefined),
    refetchInterval: ({ state }) => (state.data?.pages[0]?.status === "waiting" && !isGone(state.error) ? EVERY : false),
    staleTime: Infinity,
  });
  const read = pages.data?.pages ?? [];
  const first = read[0];
  const gone = isGone(pages.error) && first?.status !== "answered";
  const rows = first?.sections?.reduce((sum, section) => sum + section.rows, 0) ?? 0;
  return (
    <section aria-labelledby="answer">
      <h2 id="answer">Answer</h2>
      <div role="status">
        {first?.status === "waiting" && !gone && (
          <div className="state">
            <p>
              Waiting for the pipeline. It takes about half a minute as a rule, and up to an hour where much is to be done. You may leave: this
              page's address leads back to the answer, for a day.
            </p>
            <div className="bone" />
          </div>
        )}
        {first?.status === "answered" && (
          <p className="quiet">The answer is there: {rows.toLocaleString()} {rows === 1 ? "row" : "rows"}.</p>
        )}
      </div>
      {gone ? (
        <Stop title="There is no such answer">
          <p>It is older than a day, or somebody else put the question. Put it again to get an answer of your own.</p>
        </Stop>
      ) : first === undefined ? (
        pages.isError ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : <Loading what="the answer" />
      ) : pages.isError && first.status === "waiting" ? (
        <p className="notice" role="alert">The answer could not be looked for just now. It is tried again every few seconds.</p>
      ) : first.status === "refused" ? (
        <Stop title="The question cannot be answered"><p className="lines">{first.problem}</p></Stop>
      ) : first.status === "answered" && (
        <>
          <Shown id={id} first={first} rows={read.flatMap((page) => page.rows ?? [])} readAt={pages.dataUpdatedAt} />
          <More of={pages} count={read.reduce((sum, page) => sum + (page.rows?.length ?? 0), 0)} one="row" many="rows" />
        </>
      )}
    </section>
  );
}

const isGone = (error: unknown): boolean => error instanceof Problem && error.kind === "absent";

function Shown({ id, first, rows, readAt }: { id: string; first: Given; rows: NonNullable<Given["rows"]>; readAt: number }) {
  const { api } = useParts();
  const link = useQuery({
    queryKey: ["archive page", id],
    queryFn: async () => (await readAnswer(api, id, 1)).page ?? null,
    initialData: first.page ?? null,
    initialDataUpdatedAt: readAt,
    staleTime: LINK,
    refetchInterval: LINK,
  });
  return (
    <>
      <p className="lead">{first.question}</p>
      <p>
        {first.true_for ? <>True for <When at={first.true_for} />: all that had arrived until then is in it.</> : "Nothing was published yet."}{" "}
        <span className="quiet">Put <When at={first.put_at} />. Personal values are hidden.</span>
      </p>
      {link.data !== null && (
        <p><a href={link.data} target="_blank" rel="noopener noreferrer">Page to print or keep (opens in a new tab)</a></p>
      )}
      {first.sections?.map((section, place) => (
        <Part key={place} place={place} of={section} rows={rows.filter((each) => each.section === place).map((each) => each.row)} />
      ))}
    </>
  );
}

function Part({ place, of, rows }: { place: number; of: NonNullable<Given["sections"]>[number]; rows: readonly Row[] }) {
  const numbered = rows.map((row, number) => ({ row, number }));
  const names = columns(rows);
  const title = (name: string) => (names.filter((each) => words(each) === words(name)).length > 1 ? name : words(name));
  return (
    <>
      <h3>{of.heading}</h3>
      {of.more && <p className="notice">Rows are left out: there are more than these {of.rows.toLocaleString()}. Ask for less to see all.</p>}
      {rows.length < of.rows && <p className="quiet">{rows.length.toLocaleString()} of {of.rows.toLocaleString()} rows are read so far; "Show more" is below.</p>}
      {(rows.length > 0 || of.rows === 0) && (
        <Table<(typeof numbered)[number]>
          title={of.heading}
          rows={numbered}
          id={({ number }) => `part-${place}-${number}`}
          empty="Nothing."
          columns={names.map((name) => ({
            title: title(name),
            numeric: isNumeric(name, rows),
            value: ({ row }) => said(row[name]),
            cell: ({ row }) => <One name={name} row={row} />,
          }))}
        />
      )}
    </>
  );
}

const MOMENT = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/;

function One({ name, row }: { name: string; row: Row }): ReactNode {
  const isStaff = usePerson()?.role === "staff";
  const value = said(row[name]);
  if (value === null || value === undefined) return "–";
  const text = String(value);
  switch (isStaff ? leads(name, value) : null) {
    case "order":
      return <OrderLink id={text} />;
    case "lot":
      return <LotLink id={text} isStaff />;
    case "party":
      return <PartyLink id={text} />;
    default:
      if (name === "status") return <Status of={text} />;
      return MOMENT.test(text) ? <time dateTime={text.replace(" ", "T").replace(" UTC", "Z")}>{text}</time> : <bdi>{text}</bdi>;
  }
}
