"""The image begins from one build of its base, takes finished packages by their hashes, and holds the product alone."""

from __future__ import annotations

import json
import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local.home import REPOSITORY
from local.image.dockerfile import Step, context, pairs, patterns, steps
from local.image.parts import locked
from orchestration import alive
from tests.support.expanded import expanded_stack

STEPS = steps((REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8"))
LAST = STEPS[max(n for n, step in enumerate(STEPS) if step.name == "FROM") :]
LEFT_OUT = patterns((REPOSITORY / ".dockerignore").read_text("utf-8"))
PRODUCT = {
    "contracts", "lakehouse", "warehouse", "reporting", "assets", "orchestration", "realtime", "retrieval", "ops",
    "dbt_project", "deploy", "requirements",
}  # fmt: skip
FILES = {"LICENSE", "README.md", "pyproject.toml", "workspace.yaml"}
TASKS = {
    name.removeprefix("Task"): resource["Properties"]["ContainerDefinitions"][0]
    for name, resource in expanded_stack("pipeline", "prod")["Resources"].items()
    if resource["Type"] == "AWS::ECS::TaskDefinition"
}


def runs(found: list[Step]) -> list[str]:
    """The commands of RUN, one by one."""
    return [c.strip() for step in found if step.name == "RUN" for c in re.split(r"&&|;|\|\|", step.rest)]


def lock(name: str) -> str:
    return (REPOSITORY / "requirements" / name).read_text("utf-8")


def test_every_stage_begins_from_the_same_build_of_its_tag() -> None:
    """Named once, and as it is: Dependabot, which renews it each week, reads no ARG."""
    first, *others = [step.rest for step in STEPS if step.name == "FROM"]
    assert re.fullmatch(r"python:3\.12-slim@sha256:[0-9a-f]{64} AS base", first)
    assert others == ["base AS packages", "base"]
    updates = yaml.safe_load((REPOSITORY / ".github" / "dependabot.yml").read_text("utf-8"))["updates"]
    (renewing,) = (update for update in updates if update["package-ecosystem"] == "docker")
    assert renewing["directory"] == "/deploy"
    (ignored,) = renewing["ignore"]
    assert ignored["dependency-name"] == first.partition(":")[0], "another Python is a change by hand"


def test_no_build_is_given_a_secret_or_anything_but_its_time() -> None:
    """What an ARG holds can be read in the image's history."""
    assert {step.rest for step in STEPS if step.name == "ARG"} == {"SOURCE_DATE_EPOCH"}
    assert not [
        step for step in STEPS if step.name == "ENV" and re.search("secret|password|token|key", step.rest, re.I)
    ]


def test_packages_are_wheels_of_the_lock_by_their_hashes() -> None:
    """A package without a wheel fails by its name, and not by a compiler that is missing."""
    fetching = [command for command in runs(STEPS) if re.search(r"\bpip\b.* (download|install)\b", command)]
    assert [re.findall(r"\b(download|install)\b", c)[0] for c in fetching] == ["download", "download", "install"]
    for command in fetching:
        assert {"--require-hashes", "--no-deps", "--requirement image.txt"} <= set(
            re.findall(r"--[\w-]+(?: image\.txt)?", command)
        )
    assert all("--only-binary :all:" in command for command in fetching[:2])
    assert "--no-index" not in fetching[0]
    assert all("--no-index" in command for command in fetching[1:])
    assert not re.search(r"\b(apt-get|curl|wget|git|uv|npm)\b", " ".join(runs(STEPS))), "nothing else brings anything"


def test_wheels_that_are_there_are_not_brought_again() -> None:
    """pip looks whether a wheel lies where it would put it, by its hash, whatever the index says of caches."""
    (step,) = (s for s in STEPS if s.name == "RUN" and "mount" in s.flags)
    (mount,) = step.flags["mount"]
    kept = dict(word.partition("=")[::2] for word in mount.split(","))
    assert kept["type"] == "cache"
    first, second = runs([step])
    assert f"--dest {kept['target']} " in f"{first} "
    assert f"--find-links {kept['target']}" in second, "only those of the lock go on"
    assert kept["target"] not in " ".join(runs([s for s in STEPS if s is not step]))


def test_the_images_lock_is_part_of_the_projects() -> None:
    """`make lock` writes both: what is tested is what is deployed."""
    whole, of_image = locked(lock("lock.txt")), locked(lock("image.txt"))
    assert {name: (p.version, p.hashes) for name, p in of_image.items()} == {
        name: (whole[name].version, whole[name].hashes) for name in of_image
    }
    about = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    direct = {
        canonicalize_name(Requirement(t).name) for t in (*about["dependencies"], *about["optional-dependencies"]["aws"])
    }
    assert direct <= set(of_image)
    assert not {"pytest", "moto", "mypy", "ministack", "uv", "setuptools", "pip", "wheel"} & set(of_image)


def test_neither_pip_nor_what_brings_it_is_left_in_the_last_stage() -> None:
    commands = runs(LAST)
    assert any(c.startswith("/usr/local/bin/python -m pip uninstall ") and c.endswith(" pip") for c in commands)
    assert any(re.fullmatch(r"rm -r /usr/local/lib/python3\.12/ensurepip", c) for c in commands)
    (copied,) = (step for step in LAST if step.name == "COPY")
    assert (copied.flags, copied.rest) == ({"from": ["packages"]}, "/opt /opt"), "without the wheels and their cache"


def test_no_file_has_the_time_of_the_build() -> None:
    compiling = [c for c in runs(STEPS) if "compileall" in c]
    assert len(compiling) == 2
    assert all("--invalidation-mode unchecked-hash" in c for c in compiling)
    touching = [c for c in runs(STEPS) if 'touch --no-dereference --date "@$SOURCE_DATE_EPOCH"' in c]
    assert [c.split()[1] for c in touching] == ["/opt", "/var/gavel"]
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    assert 'SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" && export SOURCE_DATE_EPOCH' in makefile
    assert "type=oci,dest=build/image.tar,rewrite-timestamp=true" in makefile


def test_what_runs_is_a_user_without_rights_by_its_number() -> None:
    users = [step.rest for step in LAST if step.name == "USER"]
    assert users == ["10001:10001"]
    after = [step.name for step in LAST[[step.name for step in LAST].index("USER") :]]
    assert "COPY" not in after
    assert LAST[-1].name == "VOLUME"


def test_tests_laptop_dashboard_and_benchmarks_are_not_in_it() -> None:
    tops = {path.split("/")[0] for path in context(REPOSITORY, LEFT_OUT)}
    assert PRODUCT <= tops <= PRODUCT | FILES
    assert not [p for p in context(REPOSITORY, LEFT_OUT) if p.startswith("deploy/parameters/")]


def test_each_task_writes_to_the_volumes_of_the_image_and_nowhere_else() -> None:
    (volumes,) = (json.loads(step.rest) for step in LAST if step.name == "VOLUME")
    for name, container in TASKS.items():
        assert container["ReadonlyRootFilesystem"] is True, name
        assert [m["ContainerPath"] for m in container["MountPoints"]] == volumes, name
    environment = {n: v for step in LAST if step.name == "ENV" for n, v in pairs(step.rest, {}).items()}
    for name in ("HOME", "GAVEL_HOME", "DAGSTER_HOME"):
        assert environment[name].startswith(volumes[0]), name
    given = {entry["Name"]: entry["Value"] for entry in TASKS["run"]["Environment"]}
    assert all(given[n] == environment[n] for n in ("GAVEL_HOME", "DAGSTER_HOME"))


def test_whether_a_task_works_is_said_by_its_own_check() -> None:
    """One check in the image could not fit four tasks; a task without one would never be replaced."""
    assert [step.rest for step in STEPS if step.name == "HEALTHCHECK"] == ["NONE"]
    checks = {name: container["HealthCheck"]["Command"] for name, container in TASKS.items()}
    assert checks.pop("run") == ["CMD", "true"]
    assert checks == {name: ["CMD", "python", "-m", "orchestration.alive", name] for name in ("web", "daemon", "code")}
    assert "orchestration/alive.py" in set(context(REPOSITORY, LEFT_OUT))


def test_a_check_gives_up_before_it_is_ended_and_finds_what_hangs_before_the_alarm_rings() -> None:
    """One that ECS ends says nothing; ECS waits a minute at most. Services have an alarm of ten minutes."""
    for name in ("web", "daemon", "code"):
        check = TASKS[name]["HealthCheck"]
        assert alive.CONNECT + alive.ANSWER < check["Timeout"] <= 60, name
        assert check["Retries"] * (check["Interval"] + check["Timeout"]) < 600, name


def test_nothing_has_a_version_that_moves() -> None:
    assert "latest" not in (REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8")
