"""Contracts change while `gavel dev` runs: one command brings them into force in all parts, and a broken one in none.

The stack runs from a copy of the checkout, because a contract is a file of it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.draining import drain
from local.stack import connect, down, running
from tests.support.checkouts import Checkout

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

CONTRACT = """apiVersion: v3.2.0
kind: DataContract
id: urn:gavel:consignments
name: consignments
version: 1.0.0
status: active
domain: auctions
description: {purpose: What sellers bring in.}
team: {name: lots}
slaProperties:
  - {property: freshness, value: 15, unit: m, description: From the accepted change to the published row.}
  - {property: retention, value: 3650, unit: d}
schema:
  - name: consignments
    logicalType: object
    physicalType: table
    description: What sellers bring in.
    properties:
      - name: consignment_id
        logicalType: string
        physicalType: string
        description: Identity of the consignment.
        required: true
        primaryKey: true
        primaryKeyPosition: 1
        classification: internal
        customProperties: [{property: fieldId, value: 1}]
      - name: commission
        logicalType: number
        physicalType: decimal(5,2)
        description: Agreed commission in per cent.
        classification: internal
        customProperties: [{property: fieldId, value: 2}]
    customProperties:
      - {property: origin, value: stream}
      - {property: sort, value: [consignment_id]}
      - {property: dynamodb, value: {pk: 'CONSIGNMENT#{consignment_id}', sk: CONSIGNMENT}}
"""


SENSORS = """{sensorsOrError(repositorySelector:{repositoryName:"__repository__", repositoryLocationName:"gavel"}){
  ... on Sensors{results{name sensorState{status}}}}}"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    yield checkout
    down(checkout.home)


def test_a_contract_comes_into_force_everywhere_by_one_command_and_a_broken_one_nowhere(checkout: Checkout) -> None:
    child = checkout.develop()
    before = checkout.assets()
    assert "catalog/lots" in before

    broken = checkout.entities / "consignments.yaml"
    broken.write_text("apiVersion: v3.1.0\nkind: [")
    refused = checkout.run("up")
    assert refused.returncode == 1
    assert "consignments" in refused.stdout
    assert checkout.run("status").returncode == 0, "what does not read the files goes on"
    assert checkout.run("refresh").returncode == 0, "and so does the pipeline"

    broken.write_text(CONTRACT)
    up = checkout.run("up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert {"landing/consignments", "catalog/consignments", "staging/stg_consignments"} <= checkout.assets() - before
    sensors = checkout.ask(SENSORS)["sensorsOrError"]["results"]
    assert {s["name"] for s in sensors if s["sensorState"]["status"] == "RUNNING"} >= {
        "landed_objects",
        "dropped_files",
    }

    stack = running(checkout.home)
    connect(stack).create("consignments", {"consignment_id": "n-1", "commission": "12.50"})
    drain(checkout.home, stack)
    checkout.wait_for("catalog/consignments")

    broken.write_text(CONTRACT.replace("decimal(5,2)", "decimal(4,1)").replace("version: 1.0.0", "version: 1.1.0"))
    refused = checkout.run("up")
    assert refused.returncode == 1
    assert "commission: decimal(5,2) cannot become decimal(4,1)" in refused.stdout
    connect(stack).create("consignments", {"consignment_id": "n-2", "commission": "12.55"})
    assert checkout.run("refresh").returncode == 0, "what was refused is not in force"
    assert checkout.failed_runs() == [], "also of builds that were under way when the project changed"

    child.send_signal(signal.SIGINT)
    assert child.wait(600) == 0
