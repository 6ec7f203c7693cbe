/** Charts as SVG. What they draw is in the panel's table as well, which is what a screen reader is led to. */

import { useNavigate } from "@tanstack/react-router";
import { useSyncExternalStore } from "react";
import type { Chart } from "../api/figures";
import { bars, extent, labelled, orders, periodName, pieces, scale } from "../logic/chart";

const NARROW = 560;
const WIDE = 1000;
const HEIGHT = 230;
const LEFT = 58;
const TOP = 8;
const BOTTOM = 26;
const RIGHT = 10;

function axisLabel(chart: Chart, currency: string): (value: number) => string {
  if (chart.axis === "share") return (value) => new Intl.NumberFormat(undefined, { style: "percent" }).format(value);
  const how: Intl.NumberFormatOptions = { notation: "compact", maximumFractionDigits: 1 };
  const plain = new Intl.NumberFormat(undefined, how);
  if (chart.axis === "money" && currency !== "") {
    try {
      const money = new Intl.NumberFormat(undefined, { ...how, style: "currency", currency });
      return (value) => money.format(value);
    } catch {
      return (value) => `${plain.format(value)} ${currency}`;
    }
  }
  return (value) => `${plain.format(value)}${chart.axis === "days" ? " d" : ""}`;
}

const query = matchMedia("(min-width: 900px)");
const watch = (listener: () => void) => {
  query.addEventListener("change", listener);
  return () => query.removeEventListener("change", listener);
};

interface Drawing {
  chart: Chart;
  title: string;
  currency: string;
  /** Units across; text keeps its size in them. */
  across: number;
}

export function Picture({ chart, title, currency, wide }: { chart: Chart; title: string; currency: string; wide: boolean }) {
  const room = useSyncExternalStore(watch, () => query.matches);
  const across = wide && room ? WIDE : NARROW;
  const many = chart.series.length > 1;
  return (
    <figure className="picture">
      {many && (
        <figcaption className="legend">
          {chart.series.map((series, place) => (
            <span key={series.title}>
              <svg width="12" height="12" aria-hidden="true">
                {series.mark === "bars" ? (
                  <rect width="12" height="12" rx="2" className={`fill series-${place % 7}`} />
                ) : (
                  <line x1="0" x2="12" y1="6" y2="6" className={`stroke series-${place % 7}`} />
                )}
              </svg>{" "}
              {series.title}
            </span>
          ))}
        </figcaption>
      )}
      {chart.kind === "timeline" ? (
        <Timeline chart={chart} title={title} currency={currency} across={across} />
      ) : (
        <Ranking chart={chart} title={title} currency={currency} across={across} />
      )}
    </figure>
  );
}

function Timeline({ chart, title, currency, across }: Drawing) {
  const axis = scale(extent(chart), chart.axis === "share");
  const label = axisLabel(chart, currency);
  const slot = (across - LEFT - RIGHT) / Math.max(1, chart.names.length);
  const y = (value: number) => TOP + ((axis.high - value) / (axis.high - axis.low)) * (HEIGHT - TOP - BOTTOM);
  const middle = (name: number) => LEFT + slot * (name + 0.5);
  const beside = chart.series.filter((series) => series.mark === "bars");
  const width = (slot * 0.76) / (chart.stacked ? 1 : Math.max(1, beside.length));
  const last = chart.names.length - 1;
  const named = labelled(chart.names.length, across / 80);
  const unfinished = (name: number) => (chart.running && name === last ? "running" : "");
  const navigate = useNavigate();
  /** A mark that counts orders leads to them, for the pointer; the table below has the same as links. */
  const leading = (series: number, name: number, look: string) => {
    const search = orders(chart, series, name, currency);
    return search === null ? { className: look } : { className: `${look} leads`, onClick: () => void navigate({ to: "/archive", search }) };
  };
  return (
    <svg viewBox={`0 0 ${across} ${HEIGHT}`} role="img" aria-label={`${title}. The table below has all values.`}>
      {axis.ticks.map((tick) => (
        <g key={tick} className={tick === 0 ? "tick nought" : "tick"}>
          <line x1={LEFT} x2={across - RIGHT} y1={y(tick)} y2={y(tick)} />
          <text x={LEFT - 6} y={y(tick)} dy="0.32em" textAnchor="end">{label(tick)}</text>
        </g>
      ))}
      {chart.names.map((name, place) => named.has(place) && (
        <text key={name} x={middle(place)} y={HEIGHT - 8} textAnchor={place === last ? "end" : "middle"}
          dx={place === last ? slot / 2 : 0} className="name">
          {periodName(name, chart.grain)}
        </text>
      ))}
      {bars(chart).map((bar) => (
        <rect key={`${bar.series}-${bar.name}`} {...leading(bar.series, bar.name, `fill series-${bar.series % 7} ${unfinished(bar.name)}`)}
          x={middle(bar.name) - (slot * 0.76) / 2 + (chart.stacked ? 0 : width * beside.indexOf(chart.series[bar.series] as never))}
          width={width} y={Math.min(y(bar.from), y(bar.to))} height={Math.abs(y(bar.from) - y(bar.to))}>
          <title>{`${periodName(chart.names[bar.name] ?? "", chart.grain)}: ${chart.series[bar.series]?.title} ${label(bar.value)}`}</title>
        </rect>
      ))}
      {chart.series.map((series, place) => series.mark === "lines" && pieces(series.values).map((piece) => (
        <g key={`${series.title}-${piece[0]?.[0]}`}>
          <polyline className={`stroke series-${place % 7}`} points={piece.map(([name, value]) => `${middle(name)},${y(value)}`).join(" ")} />
          {piece.map(([name, value]) => (
            <circle key={name} cx={middle(name)} cy={y(value)} r={piece.length > 1 ? 2.6 : 4.5} {...leading(place, name, `fill stroke series-${place % 7} ${unfinished(name)}`)}>
              <title>{`${periodName(chart.names[name] ?? "", chart.grain)}: ${series.title} ${label(value)}`}</title>
            </circle>
          ))}
        </g>
      )))}
    </svg>
  );
}

const ROW = 24;

function Ranking({ chart, title, currency, across }: Drawing) {
  const axis = scale(extent(chart), chart.axis === "share");
  const label = axisLabel(chart, currency);
  const left = 150;
  const x = (value: number) => left + ((value - axis.low) / (axis.high - axis.low)) * (across - left - 16);
  const count = Math.max(1, chart.series.length);
  const row = ROW + (chart.stacked ? 0 : (count - 1) * 9);
  const height = row * chart.names.length + 26;
  const thick = (row - 6) / (chart.stacked ? 1 : count);
  return (
    <svg viewBox={`0 0 ${across} ${height}`} role="img" aria-label={`${title}. The table below has all values.`}>
      {axis.ticks.map((tick) => (
        <g key={tick} className={tick === 0 ? "tick nought" : "tick"}>
          <line y1={0} y2={height - 22} x1={x(tick)} x2={x(tick)} />
          <text x={x(tick)} y={height - 8} textAnchor="middle">{label(tick)}</text>
        </g>
      ))}
      {chart.names.map((name, place) => (
        <text key={name} x={left - 8} y={row * (place + 0.5)} dy="0.32em" textAnchor="end" className="name">
          {name.length > 22 ? `${name.slice(0, 21)}…` : name}
          <title>{name}</title>
        </text>
      ))}
      {bars(chart).map((bar) => (
        <rect key={`${bar.series}-${bar.name}`} className={`fill series-${bar.series % 7} ${bar.value < 0 && count === 1 ? "loss" : ""}`}
          y={row * bar.name + 3 + (chart.stacked ? 0 : thick * bar.series)} height={thick}
          x={Math.min(x(bar.from), x(bar.to))} width={Math.abs(x(bar.to) - x(bar.from))}>
          <title>{`${chart.names[bar.name]}: ${chart.series[bar.series]?.title} ${label(bar.value)}`}</title>
        </rect>
      ))}
    </svg>
  );
}
