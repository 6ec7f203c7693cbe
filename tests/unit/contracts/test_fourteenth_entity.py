"""One more YAML file is one more entity, everywhere: nothing else lists entities."""

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from contracts import Contracts, dbt, load_contracts
from contracts.change import change_from_record
from contracts.compact import dump_compact, load_compact
from contracts.item import item_keys, to_attribute
from contracts.json_schema import json_schema
from contracts.loader import ENTITIES
from contracts.validation import parse
from lakehouse.table import glue_tables, schemas
from orchestration.definitions import build
from orchestration.settings import Settings
from tests.support.manifests import small_manifest

ROOT = Path(__file__).parents[3]
APPRAISAL = {"request_id": "x-1", "lot_id": "l-1", "seller_id": "c-1", "status": "requested", "worth": Decimal("9.50")}
WORTH = """
      - name: worth
        logicalType: number
        physicalType: decimal(12,2)
        description: What the appraiser says the lot is worth.
        customProperties:
          - {property: fieldId, value: 40}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The product's contracts and one more, `appraisals`, with a field of its own."""
    folder = tmp_path / "entities"
    shutil.copytree(ENTITIES, folder)
    text = (folder / "virtual_requests.yaml").read_text()
    text = text.replace("virtual_requests", "appraisals").replace("VIRTUAL_REQUEST", "APPRAISAL")
    head, tail = text.split("    customProperties:\n      - property: origin")
    (folder / "appraisals.yaml").write_text(
        f"{head.rstrip()}{WORTH}    customProperties:\n      - property: origin{tail}"
    )
    return folder


@pytest.fixture
def contracts(folder: Path) -> Contracts:
    contracts = load_contracts(folder)
    assert set(contracts) - set(load_contracts()) == {"appraisals"}
    return contracts


def test_the_api_validates_it(contracts: Contracts):
    bundled = load_compact(dump_compact(contracts))["appraisals"]
    payload = {**APPRAISAL, "requested_at": "2026-01-01T00:00:00Z"}
    assert parse(bundled, payload).problems == ()
    assert {p.field for p in parse(bundled, {**payload, "worth": "1.234"}).problems} == {"worth"}
    assert "worth" in json_schema(bundled)["properties"]


def test_the_template_names_no_entity_but_repeats_its_firehose_for_each_it_is_given(contracts: Contracts):
    template = (ROOT / "realtime" / "template.yaml").read_text()
    parameter = re.search(r"^  Entities:\n((?:    .*\n)+)", template, re.MULTILINE)
    assert parameter is not None
    assert "Default" not in parameter[1]
    loops = re.findall(r"Fn::ForEach::\w+:\n\s+- Entity\n\s+- (.*)\n", template)
    assert loops
    assert set(loops) == {"!Ref Entities"}
    assert not [n for n in contracts if re.search(rf"(gavel-\$\{{Environment\}}-|landing/){n}\b", template)]


def test_its_changes_land(contracts: Contracts):
    image = {k: to_attribute(v) for k, v in APPRAISAL.items()}
    image |= {k: {"S": v} for k, v in item_keys(contracts["appraisals"], APPRAISAL).items()}
    image["entity"] = {"S": "appraisals"}
    body = {"ApproximateCreationDateTime": 1790000000, "SequenceNumber": "1", "NewImage": image}
    mapped = change_from_record({"eventID": "e", "eventName": "INSERT", "dynamodb": body}, contracts)
    assert mapped is not None
    entity, row = mapped
    assert (entity, row["worth"]) == ("appraisals", "9.50")
    lake: Any = SimpleNamespace(store=SimpleNamespace(uri=lambda key: f"s3://bucket/{key}"))
    table = glue_tables.landing_input(contracts["appraisals"], lake.store.uri("landing/appraisals/"))
    assert {c["Name"] for c in table["StorageDescriptor"]["Columns"]} == set(row)
    assert "worth" in {c.name for c in schemas.compacted(contracts["appraisals"]).columns}


def test_dbt_reads_it(contracts: Contracts):
    written = dbt.generate(contracts)
    assert any("stg_appraisals.sql" in path for path in written)
    assert any("name: appraisals_changes" in text for text in written.values())


def test_dagster_has_its_assets(folder: Path, tmp_path: Path):
    manifest = tmp_path / "dbt" / "dev" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(small_manifest()))
    definitions = build(Settings("dev", bucket="b", home=tmp_path, contracts_folder=folder))
    graph = definitions.get_repository_def().asset_graph.get_all_asset_keys()
    assert {dg.AssetKey([layer, "appraisals"]) for layer in ("landing", "compacted", "catalog")} <= set(graph)
