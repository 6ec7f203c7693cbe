"""What a code location holds, as text that a person can read: the form of the committed snapshot."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg


def described(repository: dg.RepositoryDefinition) -> str:
    """Every asset with its checks, then jobs, schedules and sensors, each in a line or a few."""
    return "\n".join(
        [*_assets(repository), "", *_jobs(repository), "", *_schedules(repository), "", *_sensors(repository), ""]
    )


def _assets(repository: dg.RepositoryDefinition) -> Iterator[str]:
    graph = repository.asset_graph
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        policy, condition = node.freshness_policy, node.automation_condition
        facts = {
            "group": node.group_name,
            "kinds": " ".join(sorted(node.kinds)),
            "owners": " ".join(node.owners),
            "pool": " ".join(sorted(node.pools or ())) if node.is_materializable else None,
            "external": "yes" if not node.is_materializable else None,
            "partitions": node.partitions_def.fmt if node.partitions_def else None,  # type: ignore[attr-defined]
            "freshness": f"{policy.fail_window.to_timedelta()}" if policy else None,  # type: ignore[attr-defined]
            "automation": str(condition) if condition else None,
            "reads": " ".join(sorted(parent.to_user_string() for parent in node.parent_keys)),
        }
        yield f"asset {key.to_user_string()}"
        yield from (f"    {name}: {value}" for name, value in facts.items() if value)
        for check in sorted(k.name for k in graph.asset_check_keys if k.asset_key == key):
            blocking = graph.get(dg.AssetCheckKey(key, check)).blocking
            yield f"    check {check}{' (blocking)' if blocking else ''}"


def _jobs(repository: dg.RepositoryDefinition) -> Iterator[str]:
    for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            steps = " ".join(sorted(node.name for node in job.nodes))
            tags = " ".join(f"{name}={value}" for name, value in sorted(job.tags.items()))
            yield from (f"job {job.name}", f"    tags: {tags}", f"    steps: {steps}")


def _schedules(repository: dg.RepositoryDefinition) -> Iterator[str]:
    for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name):
        cron, zone = schedule.cron_schedule, schedule.execution_timezone
        yield f"schedule {schedule.name}: {schedule.job_name} at {cron} {zone}, {schedule.default_status.value.lower()}"


def _sensors(repository: dg.RepositoryDefinition) -> Iterator[str]:
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        jobs = " ".join(target.job_name for target in sensor.targets)
        every = f"every {sensor.minimum_interval_seconds} s, {sensor.default_status.value.lower()}"
        yield f"sensor {sensor.name}: {jobs or 'requests no run'}, {every}"
