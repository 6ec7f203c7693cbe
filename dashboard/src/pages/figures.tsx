import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Change, type Figures, type Panel, readFigures, type Theme } from "../api/figures";
import { leading, orders } from "../logic/chart";
import { Picture } from "../parts/chart";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { PartyLink, When } from "../parts/show";
import { Answer, Empty, Stop } from "../parts/states";
import { saveCsv } from "../parts/table";

export function FiguresPage({ currency }: { currency: string | null }) {
  useTitle("Figures");
  const { api } = useParts();
  const isStaff = usePerson()?.role === "staff";
  const figures = useQuery({
    queryKey: ["figures"],
    queryFn: () => readFigures(api),
    refetchInterval: 60_000,
    enabled: isStaff,
  });
  return (
    <>
      <h1>Figures</h1>
      {isStaff ? (
        <Answer of={figures} what="the figures">
          {(found) =>
            found === null || found.sections.length + found.general.length === 0 ? (
              <Empty>There are no figures yet. They come with the first report that the pipeline renders.</Empty>
            ) : (
              <All figures={found} currency={currency} />
            )
          }
        </Answer>
      ) : (
        <Stop title="You may not see this">
          <p>Figures are of all parties together, and for staff only.</p>
        </Stop>
      )}
    </>
  );
}

function All({ figures, currency }: { figures: Figures; currency: string | null }) {
  const section = figures.sections.find((each) => each.currency === currency) ?? figures.sections[0];
  return (
    <>
      <p className="quiet">
        True for <When at={figures.data_time ?? undefined} />, rendered <When at={figures.rendered_at} />. Periods are of UTC.
      </p>
      {figures.as_they_were.length > 0 && (
        <p className="notice">Not built again, and shown as they were: {figures.as_they_were.join(", ")}.</p>
      )}
      {section && (
        <>
          <nav className="tabs" aria-label="Currencies">
            {figures.sections.map((each) => (
              <Link key={each.currency} to="/figures" search={{ currency: each.currency }} resetScroll={false}
                aria-current={each === section ? "page" : undefined}>
                {each.currency}
              </Link>
            ))}
          </nav>
          <dl className="headlines">
            {section.figures.map((figure) => (
              <div key={figure.label}>
                <dt>{figure.label}</dt>
                <dd className="number">{figure.value}</dd>
                {figure.change && <dd><Moved change={figure.change} /></dd>}
                {figure.note && <dd className="quiet">{figure.note}</dd>}
              </div>
            ))}
          </dl>
          {section.themes.map((theme) => (
            <Panels key={theme.key} theme={theme} currency={section.currency} times={figures.times} />
          ))}
        </>
      )}
      {figures.general.map((theme) => (
        <Panels key={theme.key} theme={theme} currency="" times={figures.times} />
      ))}
    </>
  );
}

function Moved({ change }: { change: Change }) {
  const arrow = change.rising === null ? "" : change.rising ? "▲ " : "▼ ";
  return (
    <span className={change.good ? "moved good" : "moved bad"}>
      <span aria-hidden="true">{arrow}</span>
      <span className="visually-hidden">{change.rising === null ? "" : change.rising ? "up " : "down "}</span>
      {change.text}
    </span>
  );
}

function Panels({ theme, currency, times }: { theme: Theme; currency: string; times: Figures["times"] }) {
  return (
    <section aria-labelledby={theme.key}>
      <h2 id={theme.key}>{theme.title}</h2>
      <div className="panels">
        {theme.panels.map((panel) => (
          <One key={panel.key} panel={panel} currency={currency} at={times[panel.source]} />
        ))}
      </div>
    </section>
  );
}

function One({ panel, currency, at }: { panel: Panel; currency: string; at: string | undefined }) {
  const table = <Rows panel={panel} currency={currency} />;
  return (
    <article className={panel.wide ? "card panel wide" : "card panel"} aria-labelledby={panel.key}>
      <h3 id={panel.key}>{panel.title}</h3>
      <p className="quiet">{panel.subtitle}</p>
      <p>
        <span className="number">{panel.number}</span> {panel.label}
        {panel.change && <> <Moved change={panel.change} /></>}
      </p>
      <p>{panel.summary}</p>
      {panel.chart && panel.chart.series.length > 0 ? (
        <>
          <Picture chart={panel.chart} title={panel.title} currency={currency} wide={panel.wide} />
          {leading(panel.chart) >= 0 && <p className="quiet">A bar leads to the orders that were placed in its period, and so does the period's name in the table.</p>}
          <details>
            <summary>All values</summary>
            {table}
          </details>
        </>
      ) : (
        table
      )}
      {panel.note && <p className="quiet">{panel.note}</p>}
      <p className="quiet of">True for <When at={at} /></p>
    </article>
  );
}

/** Columns of whom the rows are about: the bars that the API can lead on from. */
const PARTIES = ["Buyer", "Seller", "Party"];

function Rows({ panel, currency }: { panel: Panel; currency: string }) {
  const { chart } = panel;
  const isParty = (column: number) => PARTIES.includes(panel.columns[column] ?? "");
  const led = leading(chart);
  const shown = (cell: string, column: number, place: number) => {
    if (isParty(column) && cell) return <PartyLink id={cell} />;
    const search = column === 0 && chart ? orders(chart, led, place, currency) : null;
    return search === null ? cell : <Link to="/archive" search={search}>{cell}<span className="visually-hidden">: orders placed</span></Link>;
  };
  const spare = (column: string) => (panel.spare.includes(column) ? "spare" : undefined);
  return (
    <>
    <div className="scroll" role="region" aria-label={`${panel.title}, all values`} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {panel.columns.map((column) => <th key={column} scope="col" className={spare(column)}>{column}</th>)}
          </tr>
        </thead>
        <tbody>
          {panel.rows.map((row, place) => (
            <tr key={place}>
              {row.map((cell, column) => <td key={column} className={spare(panel.columns[column] ?? "")}>{shown(cell, column, place)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
      <p className="save">
        <button type="button" className="link" onClick={() => saveCsv(panel.title, panel.columns, panel.rows)}>
          Save as CSV<span className="visually-hidden">: {panel.title}</span>
        </button>
      </p>
    </>
  );
}
