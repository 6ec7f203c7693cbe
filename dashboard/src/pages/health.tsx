import { useQuery } from "@tanstack/react-query";
import { answered } from "../api/client";
import type { operations } from "../api/schema";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { When } from "../parts/show";
import { Answer, Stop } from "../parts/states";
import { Table } from "../parts/table";
import { age, length, standing } from "../logic/time";

type Status = operations["get_status"]["responses"][200]["content"]["application/json"];
type Health = NonNullable<Status["health"]>;

/** What each kind of alert that counts objects or letters counts, as the page names it. */
const WAITING: Readonly<Record<string, string>> = {
  "rows-in-quarantine": "Objects in quarantine: rows that broke their contract",
  "firehose-errors": "Objects that Firehose could not convert or deliver",
  "relay-failures": "Objects with changes that the relay could not hand over",
  "batches-given-up": "Batches that a function gave up",
  "objects-held": "Landed objects that are held, or fail again and again",
  "dead-letters": "Dead letters",
};
/** The alerts look each 30 seconds, or as soon as the look before has ended. */
const OLD_SECONDS = 300;

/** How far the pipeline is, and what is wrong with it. */
export function HealthPage() {
  useTitle("Health");
  const { api } = useParts();
  const isStaff = usePerson()?.role === "staff";
  const status = useQuery({
    queryKey: ["status"],
    queryFn: async () => (await answered(api.GET("/status"))).data,
    refetchInterval: 15_000,
    enabled: isStaff,
  });
  if (!isStaff) {
    return (
      <>
        <h1>Health</h1>
        <Stop title="You may not see this"><p>How far the pipeline is, is for staff only.</p></Stop>
      </>
    );
  }
  return (
    <>
      <h1>Health</h1>
      <Answer of={status} what="how far the pipeline is">
        {(found) => (
          <>
            <p>
              Reports are true for{" "}
              {found.reports.data_time ? <><When at={found.reports.data_time} /> ({age(found.reports.data_time)} ago)</> : "no known time"}.{" "}
              <span className="quiet">{found.read_at ? <>Read <When at={found.read_at} />.</> : "Metrics have not been read yet."}</span>
            </p>
            {found.health ? <Alerts of={found.health} /> : (
              <p className="notice">What is wrong is not known: the sensor <code>alerts</code> has left nothing yet, or it cannot be read.</p>
            )}
            <Tables of={found.tables} />
            {found.health && <Judged of={found.health} />}
          </>
        )}
      </Answer>
    </>
  );
}

function Alerts({ of: health }: { of: Health }) {
  const state = standing(health.looked_at, OLD_SECONDS);
  return (
    <>
      {state === "old" && (
        <p className="notice" role="alert">
          The pipeline was last looked at {age(health.looked_at)} ago: what went wrong since is not here.
        </p>
      )}
      {state === "to come" && (
        <p className="notice" role="alert">
          It cannot be said how old this is: by the clock of this machine it is of a moment to come ({health.looked_at}).
        </p>
      )}
      <h2>Open alerts</h2>
      <Table
        title="Open alerts, the worst first"
        rows={health.alerts}
        id={(alert) => `${alert.kind} ${alert.what} ${alert.since}`}
        empty={`Nothing is wrong, as of ${age(health.looked_at)} ago.`}
        columns={[
          { title: "How bad", value: (alert) => alert.severity, cell: (alert) => <span className={`status ${TONES[alert.severity]}`}>{alert.severity}</span> },
          { title: "What", value: (alert) => alert.what, cell: (alert) => (alert.reported ? alert.what : <>{alert.what} <span className="quiet">(follows from another)</span></>) },
          { title: "Since", moment: true, value: (alert) => alert.since, cell: (alert) => <When at={alert.since} inTable /> },
          { title: "Why", spare: true, value: (alert) => alert.why || "It cannot be looked at now." },
          { title: "What to do", spare: true, value: (alert) => alert.kind, cell: (alert) => <code>docs/operations.md#{alert.kind}</code> },
        ]}
      />
      {health.more > 0 && <p className="quiet">And {health.more} more.</p>}
      <h2>What waits for a person</h2>
      <Table
        title="What waits for a person"
        rows={Object.entries(health.waiting)}
        id={([kind]) => `waiting-${kind}`}
        empty="Nothing is counted."
        columns={[
          { title: "What", value: ([kind]) => WAITING[kind] ?? kind },
          {
            title: "Number", numeric: true, value: ([, count]) => count,
            cell: ([, count]) => (count === null ? "not known" : count > 0 ? <strong>{count}</strong> : "none"),
          },
        ]}
      />
    </>
  );
}

const OUTCOMES = { equal: "good", different: "bad", "not yet": "off", unproven: "going" } as const;
const TONES = { warning: "going", error: "bad", critical: "bad" } as const;

function Tables({ of: tables }: { of: Status["tables"] }) {
  return (
    <>
    <h2>Published tables</h2>
    <Table
      title="Published tables"
      rows={Object.entries(tables)}
      id={([entity]) => `table-${entity}`}
      empty="No table is known."
      columns={[
        { title: "Entity", value: ([entity]) => entity },
        {
          title: "Watermark", moment: true, value: ([, table]) => table.watermark,
          cell: ([, table]) => (table.watermark ? <When at={table.watermark} inTable /> : "not known"),
        },
        { title: "Age", numeric: true, value: ([, table]) => (table.watermark ? age(table.watermark) : null) },
        {
          title: "Pressure", numeric: true, value: ([, table]) => table.pressure,
          cell: ([, table]) => (table.pressure > 1 ? <strong>{table.pressure} ×</strong> : "none"),
        },
      ]}
    />
    </>
  );
}

function Judged({ of: health }: { of: Health }) {
  const used = (budget: { late_seconds: number; allowed_seconds: number }) =>
    budget.late_seconds === 0 ? 0 : budget.late_seconds / Math.max(1, budget.allowed_seconds);
  return (
    <>
      <h2>Lake and operational table, compared</h2>
      <Table
        title="Lake and operational table, compared"
        rows={health.comparisons ?? []}
        id={(compared) => `compared-${compared.name}`}
        empty={health.comparisons ? "Nothing was compared yet." : "Not known: the checks could not be read."}
        columns={[
          { title: "Comparison", value: (compared) => compared.name },
          { title: "Result", value: (compared) => compared.outcome, cell: (compared) => <span className={`status ${OUTCOMES[compared.outcome]}`}>{compared.outcome}</span> },
          { title: "When", moment: true, value: (compared) => compared.at, cell: (compared) => <When at={compared.at} inTable /> },
          { title: "What it found", spare: true, value: (compared) => compared.text },
        ]}
      />
      <h2>Freshness budgets of 30 days</h2>
      <Table
        title="Freshness budgets of 30 days"
        rows={[...(health.budgets ?? [])].sort((one, other) => used(other) - used(one) || one.name.localeCompare(other.name))}
        id={(budget) => `budget-${budget.name}`}
        empty={health.budgets ? "Nothing was counted yet." : "Not known: the publication log could not be read."}
        columns={[
          { title: "Table or model", value: (budget) => budget.name },
          { title: "Late", numeric: true, value: (budget) => length(budget.late_seconds) },
          { title: "Allowed", numeric: true, value: (budget) => length(budget.allowed_seconds) },
          {
            title: "Used", numeric: true,
            value: (budget) => (budget.judged ? `${Math.round(100 * used(budget))}%` : "too new"),
            cell: (budget) => (!budget.judged ? <span className="quiet">too new</span> : used(budget) >= 1 ? <strong>{Math.round(100 * used(budget))}%</strong> : `${Math.round(100 * used(budget))}%`),
          },
        ]}
      />
    </>
  );
}
