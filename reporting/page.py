"""The report page as a file: from a warehouse to one HTML file that stands by itself.

What panels say belongs to `panels/`, how the page looks to `page.html`.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from reporting import answers, document, formatting, templates
from reporting.definitions import PANELS, Page, load
from reporting.model import Document, Row, Section, Theme
from reporting.source import Source, WarehouseNotBuilt, open_warehouse, records

TEMPLATE = Path(__file__).with_name("page.html")
MARTS = ("fct_bids", "fct_orders")
WATERMARKS = "stg_watermarks"


@dataclass(frozen=True)
class ReportPage:
    """A rendered page.

    `data_time` (UTC) is None while nothing was published. `figures` are the headline numbers as text, by label, for
    the currency with most sales, which is the first of `currencies`.
    """

    path: Path
    data_time: datetime | None
    rendered_at: datetime
    currencies: tuple[str, ...]
    sales: int
    bids: int
    figures: Mapping[str, str]
    bytes: int


def render(
    warehouse_path: Path, output_path: Path, now: datetime | None = None, kept: Collection[str] = ()
) -> ReportPage:
    """Render the page from the marts of a warehouse file, which is opened for reading only.

    The page replaces `output_path` as a whole, so that nobody reads half of it, and before it the same content as JSON
    (`model.Document`) replaces the file of that name with `.json`. It names the models that were `kept` as
    they were because their build failed, and the reports that were never built, whose panels are left out. Raises
    `WarehouseNotBuilt` where the marts themselves are missing, `definitions.BadPanels` where panels are wrong.
    """
    with open_warehouse(warehouse_path) as source:
        found = _answered(source, str(warehouse_path), now, kept)
    themes = [*(theme for section in found.sections for theme in section.themes), *found.general]
    plots = {panel.key: json.loads(panel.plot) for theme in themes for panel in theme.panels if panel.plot}
    html = _template().render(
        sections=found.sections,
        general=found.general,
        times=found.times,
        data_time=found.whole,
        rendered_at=found.rendered_at,
        as_they_were=found.as_they_were,
        # No text from the data may end the script element that it stands in.
        plots=json.dumps(plots).replace("<", "\\u003c"),
        library=_library() if plots else "",
    )
    _replace(output_path.with_suffix(".json"), document.written(found.document))
    _replace(output_path, html)
    return ReportPage(
        path=output_path,
        data_time=_utc(found.whole),
        rendered_at=found.rendered_at,
        currencies=tuple(section.currency for section in found.sections),
        sales=sum(row["sales"] for row in found.currencies),
        bids=sum(row["bids"] for row in found.currencies),
        figures={figure.label: figure.value for figure in found.sections[0].figures} if found.sections else {},
        bytes=len(html.encode()),
    )


def figures(source: Source, where: str, now: datetime | None = None) -> Document:
    """The content of the page alone, from a warehouse that a message calls `where`. Raises as `render` does."""
    return _answered(source, where, now).document


@dataclass(frozen=True)
class _Answered:
    """What panels say. Times are UTC without a zone; `whole` is what all of it is true for."""

    sections: list[Section]
    general: tuple[Theme, ...]
    times: Mapping[str, datetime]
    whole: datetime | None
    rendered_at: datetime
    as_they_were: list[str]
    currencies: list[Row]

    @property
    def document(self) -> Document:
        times = {name: time.replace(tzinfo=UTC) for name, time in self.times.items()}
        sections = tuple(replace(s, first=_utc(s.first), last=_utc(s.last)) for s in self.sections)
        return Document(1, _utc(self.whole), self.rendered_at, times, sections, self.general, tuple(self.as_they_were))


def _answered(source: Source, where: str, now: datetime | None, kept: Collection[str] = ()) -> _Answered:
    page, rendered_at = load(), now or datetime.now(UTC)
    absent = _absent(page, source, where)
    times = data_times(page, source)
    whole = min((times[name] for name in page.reports if name in times), default=None) or _watermark(source)
    until = whole or rendered_at.astimezone(UTC).replace(tzinfo=None)
    currencies = _currencies(page, source)
    scope = answers.Scope(source, until, times, kept=frozenset(kept))
    sections = [answers.section(page, replace(scope, currency=row["currency"])) for row in currencies]
    general = answers.themes(page, scope)
    return _Answered(sections, general, times, whole, rendered_at, _as_they_were(kept, times, absent), currencies)


def _absent(page: Page, source: Source, where: str) -> list[str]:
    """The reports that are not built yet."""
    absent = [name for name in page.reports if not source.has(name)]
    missing = [name for name in (*MARTS, *page.reports) if not source.has(name)]
    if len(absent) == len(page.reports) or {*MARTS, WATERMARKS} & {*missing}:
        raise WarehouseNotBuilt(f"{where}: expected the marts, found no {', '.join(missing)}: build the marts first")
    return absent


def _as_they_were(kept: Collection[str], times: Mapping[str, datetime], absent: Collection[str]) -> list[str]:
    """What could not be built again, each with what it is true for."""
    old = sorted(set(kept) - set(absent))
    named = [f"{name} (until {formatting.moment(times[name])})" if name in times else name for name in old]
    return [*named, *(f"{name} (not built yet)" for name in sorted(absent))]


def _currencies(page: Page, source: Source) -> list[Row]:
    """Each currency that the page has something about, with its sales and bids, that with most sales first."""
    reports = [source.ref(name) for name in page.spec.currencies if source.has(name)]
    query = templates.query((PANELS / "currencies.sql").read_text("utf-8")).render(ref=source.ref, reports=reports)
    return records(source.read(query))


def data_times(page: Page, source: Source) -> dict[str, datetime]:
    """What each report says that it is true for, where that is known. One without a row has nowhere to say it: it is as
    its table is behind, if panels that state its time read marts."""
    times = {}
    for name in filter(source.has, page.reports):
        time = _first(source, f"select min(data_time) from {source.ref(name)}")
        if time is None and name in page.spec.tables:
            time = _watermark(source, page.spec.tables[name])
        if time is not None:
            times[name] = time
    return times


def _watermark(source: Source, entity: str = "") -> datetime | None:
    """How far the published tables are, or one of them is."""
    query = "select min(watermark) from {{ ref('stg_watermarks') }}"
    query += " where entity = {{ entity }}" if entity else ""
    return _first(source, templates.query(query).render(ref=source.ref, entity=entity))


def _first(source: Source, query: str) -> datetime | None:
    found: Any = source.read(query).iloc[0, 0]
    return found if isinstance(found, datetime) else None


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"moment": formatting.moment, "day": formatting.day}
    return environment.from_string(TEMPLATE.read_text("utf-8"))


@cache
def _library() -> str:
    """The plotting library, compressed to two fifths of its size; the browser decompresses it."""
    from plotly.offline import get_plotlyjs  # heavy, and needed only where something is drawn

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
