"""The tests of the dbt project that run at night only, as checks of one op over the warehouse as it is published.

The full check runs them all. Who materializes a model in the UI gets those of that model, so the op runs those only.
They judge what a single build can do nothing about, such as whether tables that are published one by one agree.
"""

from collections.abc import Iterator

import dagster as dg

from assets import keys
from assets.dbt import build_copy, read_results, wrong_rows
from assets.manifest import Translator
from assets.presentation import about_persons
from assets.resources import LakeResource, WarehouseResource
from contracts import Contracts
from warehouse.library import get_asset_check_key_for_test
from warehouse.made import carry, kept
from warehouse.manifest import Manifest, fqn_selector, is_nightly, promise
from warehouse.marts import marts_of, models_of
from warehouse.project import DbtFiles


def nightly_tests(files: DbtFiles, manifest: Manifest, contracts: Contracts) -> list[dg.AssetChecksDefinition]:
    """One op that runs them all; none where the project has no such test."""
    files = files.loaded(manifest)
    translator = Translator()  # one, since it remembers what it has translated
    nightly = [unique_id for unique_id, node in manifest["nodes"].items() if is_nightly(node)]
    keys_of_tests = {i: get_asset_check_key_for_test(manifest, translator, i, project=None) for i in nightly}
    tests = {unique_id: key for unique_id, key in keys_of_tests.items() if key is not None}
    if not tests:
        return []
    personal = {field for contract in contracts.values() for field in about_persons(contract)}

    @dg.multi_asset_check(
        name="nightly_tests",
        specs=[
            dg.AssetCheckSpec(key.name, asset=key.asset_key, description=promise(manifest, unique_id))
            for unique_id, key in tests.items()
        ],
        can_subset=True,
        pool=keys.WAREHOUSE_POOL,
    )
    def checked(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, warehouse: WarehouseResource
    ) -> Iterator[dg.AssetCheckResult]:
        local = files.target == "local"
        if not local:  # tests read what dbt builds, which may be a build that nobody got
            from warehouse import moving

            moving.reset(lake.lake, marts_of(manifest, models_of(manifest)))
        requested = {i: key for i, key in tests.items() if key in context.selected_asset_check_keys}
        with build_copy(warehouse.database if local else None, files.build) as publish:
            files.results.unlink(missing_ok=True)
            run = files.cli(["test", "--select", fqn_selector(manifest, requested)], raise_on_error=False).wait()
            results = read_results(files.results)
            if missing := sorted(set(requested) - set(results)):
                reason = run.get_error() or "dbt did not say why"
                raise dg.Failure(f"Expected a result of every nightly test, found none of {missing}: {reason}")
            wrong = [manifest["nodes"][unique_id] for unique_id in requested if results[unique_id]["failures"]]
            rows = wrong_rows(files.build if local else None, wrong, personal)
            # With the rows that were found wrong.
            carry(kept(files, warehouse.database, lake.lake, manifest), (), publish)
        for unique_id, key in requested.items():
            result = results[unique_id]
            warns = result["status"] == "warn"
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=result["status"] == "pass",
                severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
                description=str(result.get("message") or ""),
                metadata={"rows found wrong": result["failures"] or 0, **rows.get(unique_id, {})},
            )

    return [checked]
