"""A deployment to a running stack changes it in place: what is stored stays, and addresses and users, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts import Contracts, load_contracts
from contracts.loader import ENTITIES
from local import deploy
from local.client import ApiError
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack

NEW = "lot_photographers"


@pytest.fixture
def extended(tmp_path: Path) -> Contracts:
    """The contracts with one more entity, written as customers are."""
    folder = tmp_path / "entities"
    shutil.copytree(ENTITIES, folder)
    text = (folder / "customers.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("customers", NEW),
        ("customer_id", "photographer_id"),
        ("CUSTOMER", "PHOTOGRAPHER"),
        ("value: customer", "value: photographer"),  # its dimension
    ):
        text = text.replace(old, new)
    (folder / f"{NEW}.yaml").write_text(text, encoding="utf-8")
    return load_contracts(folder)


def code_of(laptop: Laptop) -> dict[str, str]:
    names = {name: laptop.stack.outputs[name] for name in ("ApiFunctionName", "RelayFunctionName")}
    functions = laptop.aws.client("lambda")
    return {n: functions.get_function_configuration(FunctionName=f)["CodeSha256"] for n, f in names.items()}


def test_a_new_entity_comes_and_goes_in_place_and_what_is_stored_stays(laptop: Laptop, extended: Contracts) -> None:
    customer = {"customer_id": "c-update", "status": "active", "registered_at": "2026-01-02T03:04:05Z"}
    laptop.client.create("customers", customer)
    code, outputs = code_of(laptop), laptop.stack.outputs
    photographer = {k.replace("customer_id", "photographer_id"): v for k, v in customer.items()}
    with pytest.raises(ApiError, match="404"):
        laptop.client.create(NEW, photographer)

    try:
        assert deploy.deploy(laptop.home, laptop.stack, extended).outputs == outputs
        assert not set(code_of(laptop).values()) & set(code.values()), "each function has the new contracts"
        assert laptop.client.get("customers", "c-update")["customer_id"] == "c-update"
        laptop.client.create(NEW, photographer)
        laptop.pump()
        assert [row["photographer_id"] for row in laptop.landed(NEW)] == ["c-update"]
        alarms = laptop.aws.client("cloudwatch").describe_alarms(AlarmNames=[f"gavel-local-firehose-is-late-{NEW}"])
        assert len(alarms["MetricAlarms"]) == 1
    finally:  # others share the stack
        restored = deploy.deploy(laptop.home, laptop.stack, laptop.contracts)

    assert restored.outputs == outputs
    assert code_of(laptop) == code, "the same sources are the same bundles"
    streams = laptop.aws.client("firehose").list_delivery_streams(Limit=100)["DeliveryStreamNames"]
    assert f"gavel-local-{NEW}" not in streams
    assert "gavel-local-customers" in streams
    assert [row["photographer_id"] for row in laptop.landed(NEW)] == ["c-update"], "what has landed stays"
