"""Up to when models are true: by what they read, when it was read, and whether it is still the same."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from assets.data_times import (
    TABLES_READ,
    Reads,
    TableRead,
    as_metadata,
    data_time,
    present_data_times,
    recorded_reads,
    tables_read,
    timeless,
    unread_since,
)
from assets.manifest import model_keys

NOON, ELEVEN, TEN, NINE = (datetime(2026, 11, 21, hour, tzinfo=UTC) for hour in (12, 11, 10, 9))
FACTS, TOP, LOTS = "model.gavel.fct_orders", "model.gavel.top", "model.gavel.dim_lot"


def tables(rows: str = "1", **watermarks: datetime | None) -> Reads:
    """Tables with these watermarks, all with the same rows."""
    return {entity: TableRead(rows, until) for entity, until in watermarks.items()}


def times(document: dict[str, Any], built: Any, now: Reads, earlier: dict[str, Reads]) -> dict[str, datetime | None]:
    return {i: data_time(reads, now) for i, reads in tables_read(document, built, now, earlier).items()}


def test_a_data_time_is_the_smallest_watermark_of_all_tables_read(document: dict[str, Any]) -> None:
    found = times(document, model_keys(document), tables(orders=NOON, lots=ELEVEN, countries=TEN), {})
    assert found[FACTS] == NOON
    assert found[TOP] == ELEVEN  # not TEN: reading the view of watermarks is not reading countries


def test_a_model_that_was_not_built_keeps_what_it_read_earlier(document: dict[str, Any]) -> None:
    now = tables("2", orders=NOON, lots=NOON)
    assert times(document, {TOP, LOTS}, now, {FACTS: tables("1", orders=TEN)}) == {TOP: TEN, LOTS: NOON}


def test_a_model_that_was_not_built_is_as_true_as_its_table_while_that_is_the_same(document: dict[str, Any]) -> None:
    document["nodes"][TOP]["depends_on"]["nodes"] = [FACTS, LOTS]
    now = tables("1", orders=NOON, lots=ELEVEN)
    assert times(document, {TOP}, now, {FACTS: tables("1", orders=TEN), LOTS: tables("0", lots=NINE)}) == {TOP: NINE}
    assert times(document, {TOP}, now, {FACTS: tables("1", orders=TEN), LOTS: tables("1", lots=NINE)}) == {TOP: ELEVEN}


def test_of_a_table_that_was_read_twice_the_older_rows_count(document: dict[str, Any]) -> None:
    document["nodes"][TOP]["depends_on"]["nodes"] = [FACTS, "model.gavel.stg_orders"]
    now = tables("2", orders=NOON)
    (reads,) = tables_read(document, {TOP}, now, {FACTS: tables("1", orders=TEN)}).values()
    assert reads == tables("1", orders=TEN)
    (reads,) = tables_read(document, {TOP}, now, {FACTS: tables("2", orders=TEN)}).values()
    assert reads == now, "the same rows, which both are true for the later watermark"


def test_a_model_that_states_a_data_time_is_true_for_no_more(document: dict[str, Any]) -> None:
    before, later = tables(orders=NINE, lots=TEN, countries=TEN), tables(orders=NOON, lots=NOON, countries=NOON)
    reads = tables_read(document, {FACTS, LOTS, TOP}, before, {})
    assert {i: data_time(read, later) for i, read in reads.items()} == {FACTS: NOON, LOTS: NOON, TOP: NINE}


def test_a_data_time_is_unknown_while_a_table_read_is_not_published(document: dict[str, Any]) -> None:
    now = tables(orders=NOON) | {"lots": TableRead(None, None)}
    assert times(document, model_keys(document), now, {})[TOP] is None


def test_a_data_time_is_unknown_while_it_is_not_known_what_was_read(document: dict[str, Any]) -> None:
    now = tables(orders=NOON, lots=NOON)
    assert times(document, {TOP, LOTS}, now, {}) == {TOP: None, LOTS: NOON}


def test_what_only_reads_watermarks_is_true_for_all_that_was_published(document: dict[str, Any]) -> None:
    document["nodes"][TOP]["depends_on"]["nodes"] = ["model.gavel.stg_watermarks"]
    now = tables(orders=NOON, countries=TEN) | {"lots": TableRead(None, None)}
    reads = tables_read(document, [TOP], now, {})[TOP]
    assert data_time(reads, now) == TEN
    assert data_time(reads, tables(orders=NOON, countries=NOON)) == TEN, "it shows the watermarks themselves"


def test_a_model_without_any_table_is_true_for_any_time(document: dict[str, Any]) -> None:
    assert timeless(document) == {dg.AssetKey(["marts", "dim_date"])}


def test_a_source_that_is_no_entity_says_nothing_of_the_data_time(document: dict[str, Any]) -> None:
    document["sources"]["source.gavel.catalog.orders"]["name"] = "publication_log"
    found = times(document, model_keys(document), tables(lots=ELEVEN, countries=TEN), {})
    assert found[TOP] == ELEVEN
    assert found[FACTS] is None


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_what_a_build_read_is_recorded_whole(instance: dg.DagsterInstance) -> None:
    key, other = dg.AssetKey(["marts", "fct_orders"]), dg.AssetKey(["marts", "dim_lot"])
    reads = {"orders": TableRead("1:7", TEN), "lots": TableRead(None, NINE), "bids": TableRead("2:1", None)}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata={TABLES_READ: as_metadata(reads)}))
    assert recorded_reads(instance, [key, other]) == {key: reads}
    assert present_data_times(instance, [key, other], {}) == {}, "bids have no watermark"


def test_a_model_lacks_news_of_tables_whose_rows_are_others_now() -> None:
    early, late = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    read = {"a": TableRead("1", early), "b": TableRead("1", late), "c": TableRead(None, None)}
    same = {"a": TableRead("1", late), "b": TableRead("1", late), "c": TableRead(None, None)}
    assert unread_since(read, same) is None, "a watermark that moves alone is no news"
    assert unread_since(read, {**same, "b": TableRead("2", late)}) == late
    assert unread_since(read, {**same, "a": TableRead("2", late), "b": TableRead("2", late)}) == early
    assert unread_since(None, same) is None
    assert unread_since(read, {}) is None
