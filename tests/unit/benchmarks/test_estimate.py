"""The estimate of an environment's month: from the templates, at listed prices, as the page of deployments says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.estimate.__main__ import resources, table
from benchmarks.estimate.sums import FOLDER, FREE, NOT_COUNTED, PRICED, Load, all_prices, estimate, load_of
from local.home import REPOSITORY

LOAD = FOLDER / "load.yaml"
NOTHING = Load(**dict.fromkeys(Load.__dataclass_fields__, 0.0) | {"changes_per_invocation": 1.0})


def same(value: Any) -> Any:
    return value


def test_the_page_of_deployments_has_the_table_that_the_command_prints() -> None:
    page = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8")
    assert table() in page, "run python -m benchmarks.estimate, and bring its table to docs/deploy.md"


def test_a_resource_of_which_nobody_said_what_it_costs_is_refused() -> None:
    """So that a stack cannot grow without its cost."""
    found = [*resources("dev"), ({"Type": "AWS::EC2::NatGateway"}, same)]
    with pytest.raises(ValueError, match="AWS::EC2::NatGateway"):
        estimate(found, NOTHING, all_prices())


def test_a_type_is_priced_free_or_left_out_and_only_one_of_them() -> None:
    assert not FREE & PRICED
    assert not (FREE | PRICED) & NOT_COUNTED.keys()


def test_an_environment_that_rests_costs_what_is_there() -> None:
    endpoint = {
        "Type": "AWS::EC2::VPCEndpoint",
        "Properties": {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]},
    }
    gateway = {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "Gateway"}}
    key = {"Type": "AWS::KMS::Key"}
    lines = {line.what: line for line in estimate([(r, same) for r in (endpoint, gateway, key)], NOTHING, all_prices())}
    assert lines["VPC endpoints"].usd == pytest.approx(2 * 730 * 0.01)
    assert lines["Keys"].usd == 1
    assert sum(line.usd for line in lines.values()) == pytest.approx(2 * 730 * 0.01 + 1 + 0.40)  # a secret of erasures


def test_a_load_costs_what_it_does() -> None:
    """A million writes in a month of an hour, of which each is a unit, a request, an event and 5 KB of Firehose."""
    load = Load(**{**vars_of(NOTHING), "days": 1, "hours": 1, "writes_per_second": 1e6 / 3600, "write_units": 1})
    lines = {line.what: line.usd for line in estimate([], load, all_prices())}
    assert lines["DynamoDB: writes"] == pytest.approx(0.625)
    assert lines["Gateway, firewall"] == pytest.approx(3.50 + 0.60)
    assert lines["Events of the bus"] == pytest.approx(1)
    assert lines["Firehose, 5 KB for each change"] == pytest.approx(5 * (0.029 + 0.018))
    assert lines["DynamoDB: reads"] == 0


def vars_of(load: Load) -> dict[str, float]:
    return {name: getattr(load, name) for name in Load.__dataclass_fields__}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hours": None}, "hours"),
        ({"hour": 1}, "hour"),
        ({"days": -1}, "days"),
        ({"days": "many"}, "days"),
        ({"days": float("nan")}, "days"),
        ({"hours": True}, "hours"),
    ],
)
def test_a_load_that_cannot_be_meant_says_why(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    written = {**yaml.safe_load(LOAD.read_text("utf-8"))["dev"], **change}
    file = tmp_path / "load.yaml"
    file.write_text(yaml.safe_dump({"dev": {name: v for name, v in written.items() if v is not None}}), "utf-8")
    with pytest.raises(ValueError, match=rf"dev: expected .*{reason}"):
        load_of("dev", file)
    with pytest.raises(ValueError, match="prod: expected"):
        load_of("prod", file)


@pytest.mark.parametrize("content", ["", "- dev", "dev", "dev: 7", "dev: {1: 2}", "dev: [", "dev: {a: b: c}"])
def test_a_file_that_is_no_load_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"load\.yaml: .*expected"):
        load_of("dev", file)
