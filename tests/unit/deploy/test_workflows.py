"""What workflows run exists, is pinned, and has the rights that it needs; the steps of a deployment run as written.

In the last tests the programs that are not here (Docker, skopeo, the AWS CLI) and `gavel` itself are stand-ins that
write down how they were called; shell, make and the Makefile are the real ones. Conditions, order and what a job hands
to another are tried by a runner (`tests/integration/deploy/test_workflows_run.py`).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from string import Template

import pytest

from local.home import REPOSITORY
from tests.support.expanded import expanded_stack
from tests.support.workflows import FILES, FOLDER, PARTS, TARGETS, Step, choices, filled, jobs, steps, typed, workflow

DEPLOYING = ("deploy.yaml", "deploy-environment.yaml")
RUNS = [s for s in steps() if s.run]


@pytest.mark.parametrize("step", RUNS, ids=lambda step: step.name)
def test_a_step_is_one_command_that_exists(step: Step) -> None:
    assert "\n" not in step.run.strip()
    job = workflow(step.file)["jobs"][step.job]
    env = {**job.get("env", {}), **step.written.get("env", {})}
    for chosen in choices(job):
        known = {name: filled(str(v), chosen) if "matrix" in str(v) else "x" for name, v in env.items()}
        words = shlex.split(Template(filled(step.run, chosen)).substitute(known))
        program, arguments = words[0], words[1:]
        if program == "make":
            assert {a for a in arguments if "=" not in a} <= TARGETS
        elif program == ".ci/run":
            assert set(arguments) <= PARTS
        elif program == ".venv/bin/gavel":
            typed([word if word != "x" else "dev" for word in arguments])
        else:
            pytest.fail(f"expected make, .ci/run or gavel, found {program}")


def test_what_a_text_from_outside_holds_is_never_part_of_a_command() -> None:
    """Expressions are put into a script before a shell reads it; variables are not."""
    inside = {e for s in RUNS for e in re.findall(r"\$\{\{(.*?)\}\}", s.run)}
    assert {e.strip() for e in inside} <= {"matrix.part"}


def test_every_action_is_pinned_by_commit_with_its_version_beside() -> None:
    pins: dict[str, set[str]] = {}
    for file in FILES:
        for line in re.findall(r"uses: (.*)", file.read_text("utf-8")):
            if line.startswith("./"):
                assert (REPOSITORY / line).is_file()
                continue
            found = re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", line)
            assert found, f"{file.name}: {line}"
            pins.setdefault(found[1], set()).add(found[2])
    assert {name: len(commits) for name, commits in pins.items()} == dict.fromkeys(pins, 1)


def test_a_step_fails_where_any_part_of_its_command_does() -> None:
    """GitHub's own default is `bash -e`, without pipefail."""
    for file in FILES:
        assert workflow(file)["defaults"] == {"run": {"shell": "bash"}}, file.name
    assert not [s.name for s in steps() if "shell" in s.written or s.written.get("continue-on-error")]


def test_a_job_may_read_the_code_and_what_it_needs_besides() -> None:
    given = {}
    for file, name, job in jobs():
        assert workflow(file)["permissions"] == {"contents": "read"}, file.name
        own = dict(job.get("permissions", {"contents": "read"}))
        assert own.pop("contents") == "read"
        if own:
            given[f"{file.name}: {name}"] = own
    token = {"id-token": "write"}
    assert given == {
        "deploy.yaml: models": token,
        "deploy.yaml: build": token | {"attestations": "write"},
        **{f"deploy.yaml: {name}": token for name in ("dev", "test", "prod")},
        "drift.yaml: look": token,
        **{f"deploy-environment.yaml: {name}": token for name in ("plan", "deploy")},
    }
    assert not [f.name for f in FILES if "secrets." in f.read_text("utf-8")]


@pytest.mark.parametrize("environment", ["dev", "test", "prod"])
def test_aws_knows_each_job_by_the_environment_that_it_names(environment: str) -> None:
    assert workflow(FOLDER / "deploy.yaml")["jobs"]["models"]["environment"] == "prod-plan"
    roles = expanded_stack("delivery", environment)["Resources"]
    for job, role, variable in (("plan", "PlanRole", "PLAN_ROLE"), ("deploy", "DeployRole", "DEPLOY_ROLE")):
        written = workflow(FOLDER / "deploy-environment.yaml")["jobs"][job]
        (trusted,) = roles[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        subject, own = trusted["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]["Fn::Sub"]
        assert own == {"Named": {"Fn::If": ["HasOwnSubject", {"Ref": "RepositoryInSubject"}, {"Ref": "Repository"}]}}
        named = filled(written["environment"], {"inputs.environment": environment})
        assert subject.replace("${Environment}", environment) == f"repo:${{Named}}:environment:{named}"
        (signing,) = (s for s in written["steps"] if "configure-aws-credentials" in s.get("uses", ""))
        assert signing["with"]["role-to-assume"] == f"${{{{ vars.{variable} }}}}"
        longest = roles[role]["Properties"].get("MaxSessionDuration", 3600)
        assert int(signing["with"].get("role-duration-seconds", 3600)) <= longest


def test_what_a_job_installs_before_it_has_rights_is_locked_by_hashes() -> None:
    """`make setup` runs in jobs that take a role on afterwards: uv itself and what builds the project, too."""
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    recipes = makefile[makefile.index("$(BIN)/uv:") : makefile.index("$(SCAN):")]
    installing = re.findall(r"pip install (.*)", recipes)
    assert len(installing) == 4
    for options in installing:
        ((given, file),) = re.findall(r"(--require-hashes -r|-c|--build-constraints) (requirements/[\w.]+)", options)
        text = (REPOSITORY / file).read_text("utf-8")
        pinned = re.findall(r"^[\w.-]+==\S+.*\\$", text, re.MULTILINE)
        assert pinned, f"{given} {file}"
        assert len(re.findall(r"^[\w.-]+", text, re.MULTILINE)) == len(pinned), "each by its hashes"
    assert "setuptools==" in (REPOSITORY / "requirements" / "lock.txt").read_text("utf-8"), "builds the project"


def test_environments_follow_each_other_and_nothing_begins_unchecked() -> None:
    needs = {name: job.get("needs", ()) for name, job in workflow(FOLDER / "deploy.yaml")["jobs"].items()}
    after = {"dev": "build", "test": ["build", "dev"], "prod": ["build", "test"]}
    assert needs == {"check": (), "models": (), "build": ["check", "models"]} | after
    for name in ("dev", "test", "prod"):
        assert workflow(FOLDER / "deploy.yaml")["jobs"][name]["with"]["environment"] == name
    assert workflow(FOLDER / "deploy-environment.yaml")["jobs"]["deploy"]["needs"] == "plan"
    assert workflow(FOLDER / "deploy.yaml")["concurrency"]["cancel-in-progress"] is False


# ---- the steps of a deployment, as written --------------------------------------------------------------------------

DIGEST = "sha256:" + "a" * 64
COMMIT = "c" * 40
IMAGES = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/gavel-dev"
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*${SOURCE_DATE_EPOCH:+ at $SOURCE_DATE_EPOCH}" >> "$CALLS"
case "$(basename "$0") $*" in
    "docker buildx build "*) echo '{"containerimage.digest": "DIGEST"}' > build/image.json; : > build/image.tar ;;
    "git log "*) echo 1700000000 ;;
    "git rev-parse "*) echo COMMIT ;;
    "gavel ops models fetch "*)
        mkdir -p build/models/state
        [ -z "$DEPLOYED" ] || echo "$DEPLOYED" > build/models/state/commit
        exit "${FETCH_ENDS:-0}" ;;
    "skopeo inspect "*) exit 1 ;;
    "aws ecr "*) echo a-token ;;
    "gavel deploy "*" --dry-run") echo "what would be changed"; exit "${PLAN_ENDS:-3}" ;;
    "gavel ops plan schemas"*) echo "which columns"; exit "${SCHEMAS_END:-0}" ;;
    "jq "*) echo "digest=DIGEST" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the steps find: Makefile and script of the project, and an environment of stand-ins, installed already."""
    folder, programs = tmp_path / "clone", tmp_path / "programs"
    (folder / ".venv" / "bin").mkdir(parents=True)
    programs.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/lock.txt", ".ci/run"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    for place, names in ((programs, "docker skopeo aws jq git"), (folder / ".venv" / "bin", "gavel python uv")):
        for name in names.split():
            (place / name).write_text(STAND_IN.replace("DIGEST", DIGEST).replace("COMMIT", COMMIT), "utf-8")
            (place / name).chmod(0o755)
    for stamp in (".installed-local", ".installed-dev"):
        (folder / ".venv" / stamp).touch()
    return folder


def run(clone: Path, file: str, job: str, values: dict[str, str], **more: str) -> tuple[int, list[str]]:
    """Run the commands of a job until one fails; returns the last exit code, and how the stand-ins were called."""
    written = workflow(FOLDER / file)["jobs"][job]
    calls = clone.parent / "calls"
    calls.write_text("", "utf-8")
    for step in written["steps"]:
        if "run" not in step:
            continue
        env = {n: filled(str(v), values) for n, v in {**written.get("env", {}), **step.get("env", {})}.items()}
        path = f"{clone.parent / 'programs'}:{os.environ['PATH']}"
        summary = {name: str(clone.parent / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        variables = {"PATH": path, "CALLS": str(calls), **summary, **env, **more}
        script = ["bash", "-e", "-o", "pipefail", "-c", filled(step["run"], values)]
        done = subprocess.run(script, cwd=clone, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            break
    return done.returncode, calls.read_text("utf-8").splitlines()


OF_DEV = {"inputs.environment": "dev", "inputs.digest": DIGEST, "vars.IMAGES": IMAGES}


def test_bundles_and_image_are_built_once_and_named_by_their_content(clone: Path) -> None:
    code, calls = run(clone, "deploy.yaml", "build", {})
    assert code == 0
    assert calls[0] == "python -m realtime.bundle --python 3.13 --architecture arm64 --output build/bundles"
    (building,) = (c for c in calls if c.startswith("docker buildx build "))
    assert "dest=build/image.tar,rewrite-timestamp=true" in building
    assert " --provenance=false " in building, "BuildKit's own has the times of the build: another digest each time"
    assert building.endswith(" at 1700000000"), "the commit's time is that of all files"
    assert calls[-1] == "python -m local.image parts"
    assert (clone.parent / "GITHUB_OUTPUT").read_text("utf-8") == f"digest={DIGEST}\n"


def test_what_was_built_is_signed_and_the_image_has_its_list_of_parts() -> None:
    """A list that is signed for the digest by which tasks are deployed outlives the files of a run."""
    steps_of_it = workflow(FOLDER / "deploy.yaml")["jobs"]["build"]["steps"]
    used = [(s["uses"].split("@")[0], s["with"]) for s in steps_of_it if "attest" in s.get("uses", "")]
    provenance, parts = "actions/attest-build-provenance", "actions/attest"
    assert [name for name, _ in used] == [provenance, provenance, parts]
    assert set(used[0][1]["subject-path"].split()) == {"build/bundles/*.zip", "build/sbom.json"}
    of_image = {"subject-name": "gavel", "subject-digest": "${{ steps.image.outputs.digest }}"}
    assert used[1][1] == of_image, "by the digest that tasks are deployed by, and not by the file on the way there"
    assert used[2][1] == {**of_image, "sbom-path": "build/sbom.json"}
    kept = [s["with"]["path"] for s in steps_of_it if "upload" in s.get("uses", "")]
    assert kept == ["build/image.tar", "build/sbom.json"]


@pytest.mark.parametrize(
    ("change_sets", "schemas", "ends"), [("0", "0", 0), ("3", "0", 0), ("3", "3", 0), ("1", "0", 2), ("3", "1", 2)]
)
def test_a_plan_is_shown_and_ends_red_for_what_would_be_refused(
    clone: Path, change_sets: str, schemas: str, ends: int
) -> None:
    code, calls = run(clone, "deploy-environment.yaml", "plan", OF_DEV, PLAN_ENDS=change_sets, SCHEMAS_END=schemas)
    assert code == ends
    assert calls == ["gavel deploy dev --dry-run", "gavel ops plan schemas --environment dev"]
    shown = (clone.parent / "GITHUB_STEP_SUMMARY").read_text("utf-8")
    assert shown == "```\nwhat would be changed\nwhich columns\n```\n"


def test_what_was_built_is_deployed_by_its_digest(clone: Path) -> None:
    code, calls = run(clone, "deploy-environment.yaml", "deploy", OF_DEV)
    assert code == 0
    assert sorted(calls[:2]) == [
        "aws ecr get-login-password",
        "skopeo login --username AWS --password-stdin 111122223333.dkr.ecr.eu-west-1.amazonaws.com",
    ]
    copied = f"skopeo copy --all --preserve-digests oci-archive:build/image.tar docker://{IMAGES}:{'a' * 64}"
    assert calls[2:] == [
        f"skopeo inspect docker://{IMAGES}@{DIGEST}",
        copied,
        f"gavel deploy dev --yes --without-governance --image {IMAGES}@{DIGEST}",
        "gavel ops smoke --environment dev --minutes 30",
        "python -m tests.models --write",
        "git rev-parse HEAD",
        f"gavel ops models keep build/models/now/target/manifest.json --commit {COMMIT} --environment dev",
    ]


GIVEN = {
    "contracts": ("AGAINST",),
    "models": ("AGAINST",),
    "keep-models": ("ENVIRONMENT",),
    "plan": ("ENVIRONMENT",),
    "push-image": ("IMAGES", "DIGEST"),
}
"""What workflows hand to make, by target."""


@pytest.mark.parametrize("target", GIVEN)
def test_what_is_handed_to_make_is_never_a_command(clone: Path, target: str) -> None:
    """The name of a branch may be one; make would put it into the text of a recipe."""
    hostile = 'a";touch${IFS}hacked;$(touch${IFS}hacked);`touch${IFS}hacked`;#'
    calls = clone.parent / "calls"
    calls.write_text("", "utf-8")
    variables = {"PATH": f"{clone.parent / 'programs'}:{os.environ['PATH']}", "CALLS": str(calls)}
    words = ["make", target, *(f"{name}={hostile.replace('$', '$$')}" for name in GIVEN[target])]
    subprocess.run(words, cwd=clone, env=variables, capture_output=True, check=False)
    assert not list(clone.rglob("hacked"))
    called = [line for line in calls.read_text("utf-8").splitlines() if hostile in line]
    assert called, "as it was given"


def test_what_is_compared_with_is_named_for_those_who_compare_alone(clone: Path) -> None:
    """Tests that run otherwise choose it themselves; a clone without history has no commit before this one."""
    makefile = clone / "Makefile"
    shown = 'show:\n\t@echo "<$$AGAINST>"\n'
    makefile.write_text(makefile.read_text("utf-8") + shown, "utf-8")
    variables = {"PATH": f"{clone.parent / 'programs'}:{os.environ['PATH']}", "CALLS": str(clone.parent / "calls")}
    done = subprocess.run(["make", "show"], cwd=clone, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "<>\n"
    subprocess.run(["make", "contracts"], cwd=clone, env=variables, capture_output=True, check=True)
    assert "python -m contracts check --against HEAD^1" in (clone.parent / "calls").read_text("utf-8")


def test_workflows_hand_nothing_else_to_make() -> None:
    given = {
        (word, name)
        for step in RUNS
        if step.run.startswith("make ")
        for word in [step.run.split()[1]]
        for name in re.findall(r" (\w+)=", step.run)
    }
    assert given == {
        *((t, n) for t, names in GIVEN.items() for n in names),
        ("models", "ENVIRONMENT"),
        ("contracts", "ENVIRONMENT"),
    }
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    recipes = [line for line in makefile.splitlines() if line.startswith("\t")]
    for name in ("AGAINST", "ENVIRONMENT", "IMAGES", "DIGEST"):
        left = [line for line in recipes if f"$({name})" in line.replace(f"$(if $({name})", "")]
        assert left == []


def test_models_are_compared_with_those_of_production_before_anything_is_built(clone: Path) -> None:
    code, calls = run(clone, "deploy.yaml", "models", {})
    assert code == 0
    assert calls == [
        "gavel ops models fetch build/models/state --environment prod",
        "python -m tests.models --state build/models/state",
        "gavel ops models fetch build/models/state --environment prod",
    ]
    code, calls = run(clone, "deploy.yaml", "models", {}, DEPLOYED=COMMIT)
    assert code == 0
    assert calls[-2:] == [
        f"python -m contracts check --against {COMMIT}",
        "python -m pytest -q -n 0 tests/unit/realtime/test_code_side_by_side.py",
    ], "with what is deployed, and not only with what was merged before"
    assert run(clone, "deploy.yaml", "models", {}, FETCH_ENDS="1")[0], "what cannot be read is not taken for nothing"
