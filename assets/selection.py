"""Which nodes of the dbt project a command runs: nodes of the manifest that Dagster loaded, by name, and no others.

Contracts, models and tests may change while a build runs, and dbt reads the project anew: "everything" and "all tests
of a model" would mean nodes that no asset stands for, and tables that are not there yet. Those wait for the next build.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import dagster as dg

from assets.manifest import Manifest, is_model, is_nightly, reads_of
from assets.publication import read_by

CHECKS = Mapping[str, dg.AssetCheckKey]
"""The asset checks of tests, by dbt's unique id."""


def nodes_to_build(
    manifest: Manifest,
    models: Collection[str],
    checks: CHECKS,
    assets: Collection[dg.AssetKey],
    asked: Collection[dg.AssetCheckKey],
) -> set[str]:
    """The ids of what a build of the `models` runs: them, the tests that read one of them and, beside, only what these
    read (dbt's own word is "buildable"), and of other models the tests whose checks are `asked` for. A build of all
    models runs the tests that read none, too. Where a check of one of the `assets` was left out, just the tests are run
    that were asked for; nightly tests never."""
    if any(key.asset_key in assets and key not in asked for key in checks.values()):
        return {*models, *(test for test, key in checks.items() if key in asked)}
    nodes = {*models, *(test for test, key in checks.items() if key in asked and key.asset_key not in assets)}
    there = read_by(manifest, models)
    whole = set(models) == {i for i in manifest["nodes"] if is_model(manifest, i)}
    for test, node in manifest["nodes"].items():
        if node["resource_type"] == "test" and not is_nightly(node):
            read = set(models_read(manifest, [test]))
            if read <= there and (not read.isdisjoint(models) or (whole and not read)):
                nodes.add(test)
    return nodes


def models_read(manifest: Manifest, nodes: Collection[str]) -> list[str]:
    """The ids of the models that tests among the nodes read themselves."""
    tests = [i for i in nodes if manifest["nodes"][i]["resource_type"] == "test"]
    return [i for test in tests for i in reads_of(manifest, test) if is_model(manifest, i)]


def by_name(manifest: Manifest, nodes: Collection[str]) -> list[str]:
    """The arguments by which dbt runs these nodes and nothing that is attached to them, such as unit tests. A node that
    the project has no more is passed over by dbt, with a warning."""
    names = sorted("fqn:" + ".".join(manifest["nodes"][unique_id]["fqn"]) for unique_id in nodes)
    return ["--select", " ".join(names), "--indirect-selection", "empty", "--exclude-resource-type", "unit_test"]
