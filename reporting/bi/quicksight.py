"""QuickSight as code: a data source on Athena, data sets in SPICE, an analysis and a dashboard, as an asset bundle.

Contents are written in the shapes of QuickSight's own API (`CreateDataSet` and so on), against which they are checked;
in a bundle's files the names of members begin with a small letter. The same project gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlglot import exp

from reporting.bi.visuals import Inexpressible, Measure, Visual, visuals
from reporting.definitions import load
from warehouse.readers import CURRENCY, DATA_TIME, DataSet, Reader, data_set_id, readers

KIND = "quicksight"
ID = {"datasource": "DataSourceId", "dataset": "DataSetId", "analysis": "AnalysisId", "dashboard": "DashboardId"}
"""The kinds of assets in a bundle, by the folder that each has, and the member that holds the id."""
DEFAULT_CURRENCY = "EUR"
PARAMETER = "Currency"
DESCRIPTION = 500  # characters that QuickSight keeps of a column's description
COLUMNS, HALF, ROWS, LOW = 36, 18, 12, 4  # of a sheet's grid
_MAPS = frozenset({"PhysicalTableMap", "LogicalTableMap"})  # whose keys are names, not members
_MADE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
Shape = dict[str, Any]
"""A structure of QuickSight's API."""


@dataclass(frozen=True)
class Deployment:
    """Where assets go. `account` has 12 digits; `workgroup` is the Athena that answers, `role` what it reads as."""

    environment: str
    account: str
    region: str
    workgroup: str
    role: str | None = None

    def arn(self, kind: str, name: str) -> str:
        """The ARN of an asset of a kind of `ID`."""
        partition = "aws-cn" if self.region.startswith("cn-") else "aws"
        return f"arn:{partition}:quicksight:{self.region}:{self.account}:{kind}/{name}"

    @property
    def source(self) -> str:
        """The id of the data source."""
        return f"gavel-{self.environment}-athena"


@dataclass(frozen=True)
class Asset:
    """What an import makes or changes; `content` is in the shape of the API, without the account."""

    kind: Literal["datasource", "dataset", "analysis", "dashboard"]
    id: str
    content: Shape

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.content["Name"])


def assets(to: Deployment) -> list[Asset]:
    """All assets of a deployment: what each asset needs stands before it."""
    known = readers(KIND)
    sets = {name: each for reader in known for name, each in reader.data_sets.items()}
    return [_source(to), *(_data_set(to, each) for each in sets.values()), *(a for r in known for a in _boards(to, r))]


def bundle(found: Iterable[Asset]) -> bytes:
    """The zip file that `StartAssetBundleImportJob` takes."""
    files = {f"{a.kind}/{a.id}.json": {"ResourceType": a.kind, ID[a.kind]: a.id, **a.content} for a in found}
    return zipped({name: json.dumps(_member(content), indent=2, ensure_ascii=False) for name, content in files.items()})


def zipped(files: Mapping[str, str]) -> bytes:
    """A zip file that is the same for the same texts, on every machine and with every version of zlib."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, text in sorted(files.items()):
            member = zipfile.ZipInfo(name, _MADE)
            member.external_attr, member.create_system = 0o644 << 16, 3
            file.writestr(member, text)
    return buffer.getvalue()


def _member(shape: Any) -> Any:
    """A structure as a bundle writes it."""
    if isinstance(shape, list):
        return [_member(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    return {
        name[0].lower() + name[1:]: {k: _member(v) for k, v in each.items()} if name in _MAPS else _member(each)
        for name, each in shape.items()
    }


def _source(to: Deployment) -> Asset:
    role = {"RoleArn": to.role} if to.role else {}
    content = {
        "Name": f"Gavel {to.environment}",
        "Type": "ATHENA",
        "DataSourceParameters": {"AthenaParameters": {"WorkGroup": to.workgroup, **role}},
        "SslProperties": {"DisableSsl": False},
    }
    return Asset("datasource", to.source, content)


def _data_set(to: Deployment, data_set: DataSet) -> Asset:
    table = data_set.model.replace("_", "-")
    described = [
        {
            "TagColumnOperation": {
                "ColumnName": column.name,
                "Tags": [{"ColumnDescription": {"Text": column.description[:DESCRIPTION]}}],
            }
        }
        for column in data_set.columns
    ]
    physical = {
        "DataSourceArn": to.arn("datasource", to.source),
        "Catalog": "AwsDataCatalog",
        "Schema": data_set.database(to.environment),
        "Name": data_set.model,
        "InputColumns": [{"Name": c.name, **_type(c.type)} for c in data_set.columns],
    }
    content = {
        "Name": f"{data_set.model} ({to.environment})",
        "PhysicalTableMap": {table: {"RelationalTable": physical}},
        "LogicalTableMap": {
            table: {"Alias": data_set.model, "Source": {"PhysicalTableId": table}, "DataTransforms": described}
        },
        "ImportMode": "SPICE",
    }
    return Asset("dataset", data_set_id(to.environment, data_set.model), content)


def _type(of_dbt: str) -> Shape:
    match of_dbt.partition("(")[0]:
        case "varchar":
            return {"Type": "STRING"}
        case "bigint" | "integer":
            return {"Type": "INTEGER"}
        case "double":
            return {"Type": "DECIMAL", "SubType": "FLOAT"}
        case "decimal":
            return {"Type": "DECIMAL", "SubType": "FIXED"}
        case "date" | "timestamp":
            return {"Type": "DATETIME"}
        case "boolean":
            return {"Type": "BIT"}
    raise ValueError(f"expected a type of a mart's column that QuickSight has, found {of_dbt}")


def _boards(to: Deployment, reader: Reader) -> Iterator[Asset]:
    """The analysis, in which people go on, and the dashboard, which stays as it is."""
    definition, name = Definition(to, reader).shape(), f"gavel-{to.environment}-{reader.name}"
    title = f"{reader.label} ({to.environment})"
    yield Asset("analysis", name, {"Name": title, "Definition": definition})
    yield Asset("dashboard", name, {"Name": title, "Definition": definition})


class Definition:
    """What an exposure's analysis shows: a sheet for each theme of the report, one currency at a time."""

    def __init__(self, to: Deployment, reader: Reader) -> None:
        page = load()
        self._to, self._reader = to, reader
        self._visuals, _ = visuals(page, reader.data_sets)
        self._titles = {theme: spec.title for theme, spec in page.spec.themes.items()}
        self._calculated: dict[tuple[str, str], Shape] = {}

    def shape(self) -> Shape:
        """The definition, as `CreateAnalysis` and `CreateDashboard` take it."""
        themes = dict.fromkeys(visual.theme for visual in self._visuals)
        sheets = [self._sheet(theme, [v for v in self._visuals if v.theme == theme]) for theme in themes]
        return {
            "DataSetIdentifierDeclarations": [
                {"Identifier": m, "DataSetArn": self._to.arn("dataset", data_set_id(self._to.environment, m))}
                for m in self._reader.data_sets
            ],
            "Sheets": sheets,
            "CalculatedFields": list(self._calculated.values()),
            "ParameterDeclarations": [
                {
                    "StringParameterDeclaration": {
                        "ParameterValueType": "SINGLE_VALUED",
                        "Name": PARAMETER,
                        "DefaultValues": {"StaticValues": [DEFAULT_CURRENCY]},
                    }
                }
            ],
            "FilterGroups": [*self._of_currency(), *self._of_groups()],
        }

    def _sheet(self, theme: str, drawn: Sequence[Visual]) -> Shape:
        models = list(dict.fromkeys(visual.model for visual in drawn))
        times = [m for m in models if self._reader.data_sets[m].has(DATA_TIME)]
        control = f"{theme}-currency"
        return {
            "SheetId": theme,
            "Name": self._titles[theme],
            "ContentType": "INTERACTIVE",
            "ParameterControls": [
                {
                    "Dropdown": {
                        "ParameterControlId": control,
                        "Title": PARAMETER,
                        "SourceParameterName": PARAMETER,
                        "Type": "SINGLE_SELECT",
                        "SelectableValues": {"LinkToDataSetColumn": _column(models[0], CURRENCY)},
                    }
                }
            ],
            "Visuals": [*(self._visual(each) for each in drawn), *(_true_until(theme, m) for m in times)],
            "Layouts": [_grid(_places(drawn, [f"{theme}-{m}" for m in times]))],
            "SheetControlLayouts": [
                _grid([{"ElementId": control, "ElementType": "PARAMETER_CONTROL", "ColumnSpan": 4, "RowSpan": 1}])
            ],
        }

    def _of_currency(self) -> Iterator[Shape]:
        """Amounts of different currencies are never added up: all that is shown is of one."""
        for model in (m for m, each in self._reader.data_sets.items() if each.has(CURRENCY)):
            one = {"MatchOperator": "EQUALS", "ParameterName": PARAMETER, "NullOption": "NON_NULLS_ONLY"}
            chosen = {
                "FilterId": f"currency-{model}",
                "Column": _column(model, CURRENCY),
                "Configuration": {"CustomFilterConfiguration": one},
            }
            scope = [
                {"SheetId": theme, "Scope": "ALL_VISUALS"} for theme in dict.fromkeys(v.theme for v in self._visuals)
            ]
            yield _filters(f"currency-of-{model}", {"CategoryFilter": chosen}, scope)

    def _of_groups(self) -> Iterator[Shape]:
        """Names that a panel leaves out."""
        for visual in self._visuals:
            for number, column in enumerate(visual.least):
                above = {
                    "FilterId": f"{_id(visual)}-above-{number}",
                    "Column": _column(visual.model, column),
                    "RangeMinimum": {"StaticValue": 0.0},
                    "IncludeMinimum": False,
                    "NullOption": "NON_NULLS_ONLY",
                    "AggregationFunction": {"NumericalAggregationFunction": {"SimpleNumericalAggregation": "SUM"}},
                }
                scope = [{"SheetId": visual.theme, "Scope": "SELECTED_VISUALS", "VisualIds": [_id(visual)]}]
                yield _filters(f"{_id(visual)}-of-{number}", {"NumericRangeFilter": above}, scope)

    def _visual(self, visual: Visual) -> Shape:
        dimension, values = self._dimension(visual), [self._measure(visual, m) for m in visual.measures]
        titles = [visual.dimension_title, *(measure.title for measure in visual.measures)]
        fields = [next(iter(field.values())) for field in (dimension, *values)]
        labels = [
            {"CustomLabel": title, "ApplyTo": {"FieldId": field["FieldId"], "Column": field["Column"]}}
            for title, field in zip(titles, fields, strict=True)
        ]
        across, up = {"AxisLabelOptions": labels[:1]}, {"AxisLabelOptions": labels[1:]}
        kind, configuration = _chart(visual, dimension, values)
        match kind:
            case "BarChartVisual":
                configuration |= {"CategoryLabelOptions": across, "ValueLabelOptions": up}
            case "LineChartVisual":
                configuration |= {"XAxisLabelOptions": across, "PrimaryYAxisLabelOptions": up}
            case _:
                selected = [{"FieldId": f["FieldId"], "CustomLabel": t} for t, f in zip(titles, fields, strict=True)]
                configuration |= {"FieldOptions": {"SelectedFieldOptions": selected}}
        return {
            kind: {
                "VisualId": _id(visual),
                "Title": {"Visibility": "VISIBLE", "FormatText": {"PlainText": visual.title}},
                "Subtitle": {"Visibility": "VISIBLE", "FormatText": {"PlainText": visual.subtitle}},
                "ChartConfiguration": configuration,
            }
        }

    def _dimension(self, visual: Visual) -> Shape:
        field = {"FieldId": f"{_id(visual)}-0"}
        if visual.grain:
            column = _column(visual.model, _plain(visual.dimension))
            return {"DateDimensionField": {**field, "Column": column, "DateGranularity": visual.grain.upper()}}
        if isinstance(visual.dimension, exp.Column):
            return {"CategoricalDimensionField": {**field, "Column": _column(visual.model, visual.dimension.name)}}
        made = self._field(visual, visual.dimension_title, visual.dimension)
        return {"CategoricalDimensionField": {**field, "Column": made}}

    def _measure(self, visual: Visual, measure: Measure) -> Shape:
        number = visual.measures.index(measure) + 1
        shown = {"FieldId": f"{_id(visual)}-{number}", "FormatConfiguration": {"FormatConfiguration": _format(measure)}}
        if measure.column:
            summed = {"AggregationFunction": {"SimpleNumericalAggregation": "SUM"}}
            return {"NumericalMeasureField": {**shown, "Column": _column(visual.model, measure.column), **summed}}
        return {"NumericalMeasureField": {**shown, "Column": self._field(visual, measure.title, measure.formula)}}

    def _field(self, visual: Visual, title: str, formula: exp.Expr) -> Shape:
        """The calculated field with a formula, made once for each model."""
        text = expression(formula)
        name = f"{visual.title}: {title}"
        made = self._calculated.setdefault(
            (visual.model, text), {"DataSetIdentifier": visual.model, "Name": name, "Expression": text}
        )
        return _column(visual.model, made["Name"])


def _chart(visual: Visual, dimension: Shape, values: list[Shape]) -> tuple[str, Shape]:
    """The kind of a visual, and its configuration without labels."""
    first = _id(visual)
    by_name = {"FieldSort": {"FieldId": f"{first}-0", "Direction": "ASC"}}
    if visual.kind == "table":
        largest = {"FieldSort": {"FieldId": f"{first}-1", "Direction": "DESC"}}
        return "TableVisual", {
            "FieldWells": {"TableAggregatedFieldWells": {"GroupBy": [dimension], "Values": values}},
            "SortConfiguration": {"RowSort": [largest]},
        }
    wells = {"Category": [dimension], "Values": values}
    if all(measure.mark == "lines" for measure in visual.measures):
        return "LineChartVisual", {
            "FieldWells": {"LineChartAggregatedFieldWells": wells},
            "SortConfiguration": {"CategorySort": [by_name]},
            "Type": "LINE",
        }
    sort: Shape = {"CategorySort": [by_name]}
    if visual.kind == "ranking":
        largest = {"FieldSort": {"FieldId": f"{first}-1", "Direction": "DESC"}}
        limit = {"ItemsLimit": visual.top, "OtherCategories": "EXCLUDE"}
        sort = {"CategorySort": [largest], "CategoryItemsLimit": limit}
    return "BarChartVisual", {
        "FieldWells": {"BarChartAggregatedFieldWells": wells},
        "SortConfiguration": sort,
        "Orientation": "HORIZONTAL" if visual.kind == "ranking" else "VERTICAL",
        "BarsArrangement": "STACKED" if visual.stacked else "CLUSTERED",
    }


def _true_until(theme: str, model: str) -> Shape:
    """What a sheet says of a report's data time, as every panel of the page does."""
    field = f"{theme}-{model}-0"
    time = {"FieldId": field, "Column": _column(model, DATA_TIME), "AggregationFunction": "MIN"}
    return {
        "TableVisual": {
            "VisualId": f"{theme}-{model}",
            "Title": {"Visibility": "VISIBLE", "FormatText": {"PlainText": f"{model} is true until (UTC)"}},
            "ChartConfiguration": {
                "FieldWells": {"TableAggregatedFieldWells": {"Values": [{"DateMeasureField": time}]}},
                "FieldOptions": {"SelectedFieldOptions": [{"FieldId": field, "CustomLabel": "Data time"}]},
            },
        }
    }


def _places(drawn: Sequence[Visual], times: Sequence[str]) -> list[Shape]:
    """Where everything stands on a sheet: two in a row, unless one is wide."""
    found, row, column = list[Shape](), 0, 0
    sizes = [(_id(v), COLUMNS if v.wide else HALF, ROWS) for v in drawn]
    for name, width, height in [*sizes, *((name, HALF, LOW) for name in times)]:
        if found and (column == 0 or column + width > COLUMNS or height != found[-1]["RowSpan"]):
            row, column = row + found[-1]["RowSpan"], 0
        place = {"ColumnIndex": column, "ColumnSpan": width, "RowIndex": row, "RowSpan": height}
        found.append({"ElementId": name, "ElementType": "VISUAL", **place})
        column = (column + width) % COLUMNS
    return found


def _grid(elements: list[Shape]) -> Shape:
    return {"Configuration": {"GridLayout": {"Elements": elements}}}


def _filters(name: str, one: Shape, scope: list[Shape]) -> Shape:
    return {
        "FilterGroupId": name,
        "Filters": [one],
        "ScopeConfiguration": {"SelectedSheets": {"SheetVisualScopingConfigurations": scope}},
        "Status": "ENABLED",
        "CrossDataset": "SINGLE_DATASET",
    }


def _column(model: str, name: str) -> Shape:
    return {"DataSetIdentifier": model, "ColumnName": name}


def _id(visual: Visual) -> str:
    return visual.key.replace("/", "-").replace(".", "-")


def _plain(dimension: exp.Expr) -> str:
    if not isinstance(dimension, exp.Column):
        raise Inexpressible(f"its periods are computed: {dimension.sql()}")
    return dimension.name


def _format(measure: Measure) -> Shape:
    places = {
        "DecimalPlacesConfiguration": {"DecimalPlaces": 2 if measure.shown == "money" else 0 if measure.column else 1}
    }
    if measure.shown in ("share", "percent"):
        return {"PercentageDisplayFormatConfiguration": places}
    thousands = {"ThousandsSeparator": {"Symbol": "COMMA", "Visibility": "VISIBLE"}}
    return {"NumberDisplayFormatConfiguration": {**places, "SeparatorConfiguration": thousands}}


def expression(formula: exp.Expr) -> str:
    """A formula in QuickSight's words. Raises `Inexpressible` for what it has no word for."""
    of = expression
    match formula:
        case exp.Column():
            return f"{{{formula.name}}}"
        case exp.Literal(is_string=True) if "'" not in formula.name:
            return f"'{formula.name}'"
        case exp.Literal(is_string=False):
            return formula.name
        case exp.Cast() | exp.Paren():
            return of(formula.this) if isinstance(formula, exp.Cast) else f"({of(formula.this)})"
        case exp.Sum():
            return f"sum({of(formula.this)})"
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            sign = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}[type(formula)]
            return f"{of(formula.this)} {sign} {of(formula.expression)}"
        case exp.Nullif():
            return f"nullIf({of(formula.this)}, {of(formula.expression)})"
        case exp.Coalesce():
            return f"coalesce({', '.join(map(of, [formula.this, *formula.expressions]))})"
        case exp.DPipe():
            return f"concat({of(formula.this)}, {of(formula.expression)})"
        case exp.Upper():
            return f"toUpper({of(formula.this)})"
        case exp.Trim():
            return f"trim({of(formula.this)})"
        case exp.Substring():
            text, length = of(formula.this), formula.args.get("length")
            return f"substring({text}, {of(formula.args['start'])}, {of(length) if length else f'strlen({text})'})"
    raise Inexpressible(f"QuickSight has no word for {formula.sql()}")
