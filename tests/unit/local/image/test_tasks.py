"""A task of production is read from the template as AWS would: its command, check, environment and volumes."""

from __future__ import annotations

import pytest

from local.home import REPOSITORY
from local.image.tasks import definitions
from tests.support.expanded import expanded_stack

TEMPLATE = (REPOSITORY / "deploy" / "pipeline.yaml").read_text("utf-8")
VALUES = {"Environment": "dev", "AWS::Region": "r", "AWS::AccountId": "1", "AWS::Partition": "aws", "UiDomain": "ui",
    "Database.Endpoint.Address": "db"}  # fmt: skip


def test_each_task_is_what_the_expanded_template_says() -> None:
    found = definitions(TEMPLATE, VALUES)
    made = {
        resource["Properties"]["ContainerDefinitions"][0]["Name"]: resource["Properties"]["ContainerDefinitions"][0]
        for resource in expanded_stack("pipeline", "dev")["Resources"].values()
        if resource["Type"] == "AWS::ECS::TaskDefinition"
    }
    assert set(found) == set(made) == {"web", "daemon", "code", "run"}
    for name, container in made.items():
        one = found[name]
        assert ["CMD", *one.alive] == container["HealthCheck"]["Command"]
        assert list(one.command) == container["Command"]
        assert list(one.volumes) == [m["ContainerPath"] for m in container["MountPoints"]]
        assert set(one.environment) == {e["Name"] for e in (*container["Environment"], *container["Secrets"])}
        assert one.read_only is container["ReadonlyRootFilesystem"] is True


def test_what_the_template_refers_to_is_filled_in() -> None:
    environment = definitions(TEMPLATE, VALUES)["code"].environment
    assert environment["GAVEL_BUCKET"] == "gavel-dev-data-1"
    assert environment["DAGSTER_DB_HOST"] == "db"
    assert environment["DAGSTER_CODE_HOST"] == "code.gavel-dev.internal"
    with pytest.raises(ValueError, match="AWS::AccountId"):
        definitions(TEMPLATE, {n: v for n, v in VALUES.items() if n != "AWS::AccountId"})
