"""`gavel ops smoke` on the laptop's stack: API, stream, relay, pipeline and mart are the real ones."""

from __future__ import annotations

import pytest
from rich.console import Console

from local import commands, pipeline_process
from local.screen import Screen
from ops import smoke
from ops.environment import Environment, OpsError
from tests.support.laptop import Laptop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]


def test_an_order_goes_from_the_api_to_its_mart_and_nothing_of_it_stays(laptop: Laptop) -> None:
    pool = laptop.stack.outputs["UserPoolId"]
    cognito = laptop.aws.client("cognito-idp")
    users = {u["Username"] for u in cognito.list_users(UserPoolId=pool)["Users"]}
    where = Environment(
        "local", laptop.aws.client, laptop.aws.endpoint, warehouse=laptop.home.path / "warehouse.duckdb"
    )
    screen, said = Screen(Console(quiet=True)), list[str]()

    def carry(seconds: float) -> None:
        """What the daemon does meanwhile, elsewhere."""
        commands.refresh(laptop.home, laptop.stack, screen, pipeline_process.prepare(laptop.home, laptop.stack))

    smoke.smoke(where, smoke.Manner(1200, carry), said.append)
    order = said[0].partition(":")[0]
    assert [line.partition(":")[0] for line in said] == [order] * 3
    assert " in fct_orders after " in said[1]
    assert {u["Username"] for u in cognito.list_users(UserPoolId=pool)["Users"]} == users

    with pytest.raises(OpsError, match=r"expected it in fct_orders within 0 minutes"):
        smoke.smoke(where, smoke.Manner(0, lambda seconds: None), said.append)
    carry(0)
    assert not smoke.in_mart(where, order), "it was deleted"
    assert len(said) == 4
    assert not smoke.in_mart(where, said[3].partition(":")[0])
