"""The same in Apache Superset: database, data sets with metrics, charts and a dashboard, as the zip file it imports.

Files are YAML of version 1.0.0; identities follow from names, so that an import changes what an earlier one made.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from reporting.bi.quicksight import DEFAULT_CURRENCY, zipped
from reporting.bi.visuals import Measure, Visual, visuals
from reporting.definitions import load
from warehouse.readers import CURRENCY, DATA_TIME, DataSet, Reader, readers

KIND = "quicksight"  # the same exposures: what one tool of the trading team reads, the other does
ROOT = "gavel"
VERSION = "1.0.0"
GRAINS = {"month": "P1M", "quarter": "P3M"}
FORMATS = {"money": ",.2f", "share": ".0%", "percent": ".1%", "number": ",.1f", "count": ",d", "days": ",.1f"}
WIDTH, HEIGHT, LOW = 12, 50, 18  # of a dashboard's rows: columns, and units of 8 pixels
_NAMES = uuid.UUID("6f0c7a52-5f2a-5f0e-9a57-0f4b5a6c7d8e")
Yaml = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The database that Superset reads: `address` is SQLAlchemy's, `dialect` sqlglot's name of its SQL. A password is
    never in the file; Superset wants it when it imports."""

    environment: str
    address: str
    dialect: str = "athena"

    @classmethod
    def athena(cls, environment: str, region: str) -> Source:
        """Athena through PyAthena, with the workgroup of readers, as whoever Superset runs as."""
        host = f"athena.{region}.amazonaws.com:443"
        return cls(environment, f"awsathena+rest://@{host}/?work_group=gavel-{environment}-readers")

    def schema(self, data_set: DataSet) -> str:
        """The schema of a data set; a laptop's file has the layers themselves."""
        return data_set.layer if self.dialect == "duckdb" else data_set.database(self.environment)

    def id(self, *name: str) -> str:
        """The identity of what has a name."""
        return str(uuid.uuid5(_NAMES, "/".join((self.environment, *name))))


def bundle(source: Source) -> bytes:
    """The zip file of all exposures; the same bytes for the same project."""
    files: dict[str, Yaml] = {"metadata.yaml": {"version": VERSION}, "databases/gavel.yaml": _database(source)}
    for reader in readers(KIND):
        drawn, _ = visuals(load(), reader.data_sets)
        for data_set in reader.data_sets.values():
            own = [visual for visual in drawn if visual.model == data_set.model]
            files[f"datasets/gavel/{data_set.model}.yaml"] = _data_set(source, data_set, own)
        models = [m for m in dict.fromkeys(v.model for v in drawn) if reader.data_sets[m].has(DATA_TIME)]
        charts = [*(_chart(source, visual) for visual in drawn), *(_true_until(source, model) for model in models)]
        files |= {f"charts/{_file(chart['slice_name'])}.yaml": chart for chart in charts}
        files[f"dashboards/{reader.name}.yaml"] = _dashboard(source, reader, drawn, models)
    return zipped({f"{ROOT}/{name}": yaml.safe_dump(content, sort_keys=False) for name, content in files.items()})


def _database(source: Source) -> Yaml:
    return {
        "database_name": f"Gavel {source.environment}",
        "sqlalchemy_uri": source.address,
        "expose_in_sqllab": True,
        "allow_dml": False,
        "extra": {},
        "uuid": source.id("database"),
        "version": VERSION,
    }


def _data_set(source: Source, data_set: DataSet, drawn: Iterable[Visual]) -> Yaml:
    measures = {measure.title: measure for visual in drawn for measure in visual.measures}
    return {
        "table_name": data_set.model,
        "schema": source.schema(data_set),
        "description": data_set.description,
        "main_dttm_col": next((c.name for c in data_set.columns if c.type == "date"), None),
        "uuid": source.id("data set", data_set.model),
        "database_uuid": source.id("database"),
        "columns": [
            {
                "column_name": column.name,
                "type": column.type.upper(),
                "is_dttm": column.type in ("date", "timestamp"),
                "groupby": True,
                "filterable": True,
                "description": column.description,
            }
            for column in data_set.columns
        ],
        "metrics": [
            {
                "metric_name": title,
                "verbose_name": title,
                "expression": measure.formula.sql(dialect=source.dialect),
                "d3format": FORMATS["count" if measure.shown == "number" and measure.column else measure.shown],
            }
            for title, measure in measures.items()
        ],
        "version": VERSION,
    }


def _chart(source: Source, visual: Visual) -> Yaml:
    more: Yaml
    if visual.kind == "table":
        kind, more = "table", {"query_mode": "aggregate", "groupby": [_dimension(source, visual)]}
    else:
        lines = all(measure.mark == "lines" for measure in visual.measures)
        kind = "echarts_timeseries_line" if lines else "echarts_timeseries_bar"
        more = {
            "x_axis": _dimension(source, visual),
            "orientation": "horizontal" if visual.kind == "ranking" else "vertical",
            "stack": "Stack" if visual.stacked else None,
            "y_axis_format": FORMATS[visual.axis],
            "show_legend": len(visual.measures) > 1,
        }
    if visual.grain:
        more["time_grain_sqla"] = GRAINS[visual.grain]
    else:
        more |= {"row_limit": visual.top, "order_desc": True}
        if visual.kind == "ranking":  # which Superset draws from the bottom up
            more |= {"x_axis_sort": visual.measures[0].title, "x_axis_sort_asc": True}
    form = {
        "viz_type": kind,
        "metrics": [_metric(source, measure) for measure in visual.measures],
        "adhoc_filters": [
            {"clause": "HAVING", "expressionType": "SQL", "sqlExpression": f"SUM({column}) > 0"}
            for column in visual.least
        ],
        **more,
    }
    return _slice(source, visual.title, visual.subtitle, visual.model, form)


def _true_until(source: Source, model: str) -> Yaml:
    """What a report is true for, as every panel of the page says it."""
    earliest = {"expressionType": "SQL", "sqlExpression": f"MIN({DATA_TIME})", "label": "Data time"}
    form = {"viz_type": "table", "query_mode": "aggregate", "groupby": [], "metrics": [earliest], "row_limit": 100}
    return _slice(source, _titled(model), "Up to when is it true?", model, form)


def _titled(model: str) -> str:
    return f"{model} is true until (UTC)"


def _slice(source: Source, title: str, subtitle: str, model: str, form: Yaml) -> Yaml:
    """A chart, with the query that a report by e-mail makes; a page makes its own."""
    axis = [{**form["x_axis"], "columnType": "BASE_AXIS"}] if "x_axis" in form else form["groupby"]
    if "time_grain_sqla" in form:
        axis = [{**axis[0], "timeGrain": form["time_grain_sqla"]}]
    having = " AND ".join(f"({each['sqlExpression']})" for each in form.get("adhoc_filters", ()))
    query = {
        "columns": axis,
        "metrics": form["metrics"],
        "orderby": [] if "time_grain_sqla" in form else [[form["metrics"][0], False]],
        "extras": {"having": having, "where": ""},
        "filters": [],
        "row_limit": form.get("row_limit", 10_000),
    }
    return {
        "slice_name": title,
        "description": subtitle,
        "viz_type": form["viz_type"],
        "params": form,
        "query_context": json.dumps({"queries": [query], "form_data": form, "force": False}),
        "uuid": source.id("chart", title),
        "dataset_uuid": source.id("data set", model),
        "version": VERSION,
    }


def _metric(source: Source, measure: Measure) -> Yaml:
    text = measure.formula.sql(dialect=source.dialect)
    return {"expressionType": "SQL", "sqlExpression": text, "label": measure.title, "hasCustomLabel": True}


def _dimension(source: Source, visual: Visual) -> Yaml:
    text = visual.dimension.sql(dialect=source.dialect)
    return {"expressionType": "SQL", "sqlExpression": text, "label": visual.dimension_title}


def _dashboard(source: Source, reader: Reader, drawn: list[Visual], models: list[str]) -> Yaml:
    filtered = [m for m in dict.fromkeys(v.model for v in drawn) if reader.data_sets[m].has(CURRENCY)]
    return {
        "dashboard_title": f"{reader.label.replace('QuickSight', 'Dashboard')} ({source.environment})",
        "description": reader.description,
        "uuid": source.id("dashboard", reader.name),
        "position": _position(source, drawn, models),
        "metadata": {"native_filter_configuration": [_of_currency(source, filtered[0])]},
        "version": VERSION,
    }


def _of_currency(source: Source, model: str) -> Yaml:
    """The filter of all charts: amounts of different currencies are never added up. It cannot be left empty."""
    chosen = {"filters": [{"col": CURRENCY, "op": "IN", "val": [DEFAULT_CURRENCY]}]}
    return {
        "id": "NATIVE_FILTER-currency",
        "name": "Currency",
        "type": "NATIVE_FILTER",
        "filterType": "filter_select",
        "targets": [{"datasetUuid": source.id("data set", model), "column": {"name": CURRENCY}}],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
        "controlValues": {"multiSelect": False, "enableEmptyFilter": True, "defaultToFirstItem": False},
        "defaultDataMask": {"extraFormData": chosen, "filterState": {"value": [DEFAULT_CURRENCY]}},
        "cascadeParentIds": [],
    }


def _position(source: Source, drawn: list[Visual], models: list[str]) -> Yaml:
    """Charts in rows: a wide one for itself, others two by two, and at the end what they are true for."""
    rows = list[list[tuple[str, int]]]()
    for visual in drawn:
        if visual.wide or not rows or len(rows[-1]) == 2 or rows[-1][0][1] == WIDTH:
            rows.append([])
        rows[-1].append((visual.title, WIDTH if visual.wide else WIDTH // 2))
    heights = [HEIGHT] * len(rows)
    for start in range(0, len(models), 2):
        rows.append([(_titled(model), WIDTH // 2) for model in models[start : start + 2]])
        heights.append(LOW)
    names = [f"ROW-{number}" for number in range(1, len(rows) + 1)]
    found: Yaml = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": names, "parents": ["ROOT_ID"]},
    }
    for name, row, height in zip(names, rows, heights, strict=True):
        parents = ["ROOT_ID", "GRID_ID"]
        charts = {f"CHART-{source.id('chart', title)[:8]}": (title, width) for title, width in row}
        meta: Mapping[str, Any] = {"background": "BACKGROUND_TRANSPARENT"}
        found[name] = {"type": "ROW", "id": name, "children": [*charts], "parents": parents, "meta": meta}
        for chart, (title, width) in charts.items():
            shown = {
                "uuid": source.id("chart", title),
                "chartId": 0,
                "sliceName": title,
                "width": width,
                "height": height,
            }
            found[chart] = {"type": "CHART", "id": chart, "children": [], "parents": [*parents, name], "meta": shown}
    return found


def _file(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title.lower())
