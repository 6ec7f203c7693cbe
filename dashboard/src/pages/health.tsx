import { useQuery } from "@tanstack/react-query";
import { answered } from "../api/client";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { When } from "../parts/show";
import { Answer, Stop } from "../parts/states";
import { Table } from "../parts/table";
import { age } from "../logic/time";

/** How far the pipeline is, as the API knows it from metrics. */
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
            <Table
              title="Published tables"
              rows={Object.entries(found.tables)}
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
            <p className="quiet">
              Not known means that the pipeline published no such metric in the last three hours. Dead letters, relay failures,
              quarantine, parity and open alerts are not in the API: alerts report them, and <code>gavel status</code> and{" "}
              <code>gavel ops doctor</code> list them.
            </p>
          </>
        )}
      </Answer>
    </>
  );
}
