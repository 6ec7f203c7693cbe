"""What the pages tell a reader to type exists: targets of make, commands and options of gavel, modules of Python.

Blocks marked `sh` are run as they stand by an end-to-end test; `sh aws` needs an account, `sh example` some names.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from typing import Any

import pytest
import typer

from local.command_line import app
from local.home import REPOSITORY
from ops.command_line import app as ops
from ops.deployment.stacks import LAYERS
from ops.deployment.templates import FILES
from retrieval import templates
from tests.support.documents import Block, blocks, commands, is_command
from tests.support.expanded import expanded, expanded_stack

TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
SHELL = ("sh", "sh aws", "sh example", "console")


@pytest.mark.parametrize("block", [b for b in blocks() if is_command(b)], ids=lambda b: b.name)
def test_a_block_with_commands_says_how_it_is_checked(block: Block) -> None:
    assert block.info in SHELL
    if block.info.startswith("sh"):
        subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize(("where", "command"), sorted(set(commands())))
def test_a_command_exists(where: str, command: str) -> None:
    words = shlex.split(command)
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "make":
        assert {a for a in arguments if "=" not in a} <= TARGETS, f"{where}: {command}"
    elif program in ("gavel", "gavel-ops"):
        check_options(typer.main.get_command(ops if program == "gavel-ops" else app), arguments, f"{where}: {command}")
    elif program == "python" and arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]) is not None, f"{where}: {command}"


def check_options(command: Any, arguments: list[str], where: str) -> None:
    """Follow the words to a command, and look its options up; a mapping's own options are those of `replay`."""
    rest = list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"{where}: there is no command {name}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = {a.partition("=")[0] for a in rest if a.startswith("--")} - known - {"--help"}
    assert not unknown or command.name == "replay", f"{where}: there is no option {unknown}"


def test_the_operators_page_has_each_command() -> None:
    """The table of `docs/operations.md` has each command of `gavel-ops`, and the laptop's `drill`."""
    text = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    rows = re.findall(r"^\| (`gavel ops .*?) \|", text, re.MULTILINE)
    listed = {f"{first} {name}".strip() for row in rows for first, name in named(re.findall(r"`([^`]+)`", row))}
    group = typer.main.get_command(ops)
    there = set(paths(group)) | {"drill"}
    assert listed == there


def named(texts: list[str]) -> list[tuple[str, str]]:
    """The commands of a row: what follows the first shares its group, as its group has it."""
    commands: Any = typer.main.get_command(ops)
    words = texts[0].removeprefix("gavel ops ").split()
    others = [text.removeprefix("gavel ops ") for text in texts[1:]]
    if hasattr(commands.commands.get(words[0]), "commands"):
        return [(words[0], each.removeprefix(words[0]).strip()) for each in (" ".join(words), *others)]
    return [("", each) for each in (words[0], *others)]


def paths(group: Any) -> list[str]:
    """Each command with the group that it is in."""
    found = []
    for name, command in group.commands.items():
        found += [f"{name} {inner}" for inner in command.commands] if hasattr(command, "commands") else [name]
    return found


def test_the_page_of_marts_has_each_report() -> None:
    text = (REPOSITORY / "docs" / "marts.md").read_text("utf-8")
    listed = re.findall(r"^\| `(rpt_[a-z_]+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(
        p.stem for p in (REPOSITORY / "dbt_project" / "models" / "reports").glob("rpt_*.sql")
    )


def test_the_page_of_the_archive_has_each_question_and_its_roles() -> None:
    text = (REPOSITORY / "docs" / "archive.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| .* \| ([a-z, ]+) \|$", text, re.MULTILINE))
    assert listed == {name: ", ".join(sorted(templates.load(name).roles)) for name in templates.names()}


def test_the_page_of_deployments_has_all_that_stays_when_an_environment_goes() -> None:
    """Each is named by stack and resource, so that nobody pays for what no list has."""
    text = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8").partition("## Back to an empty account")[2]
    listed: set[tuple[str, str]] = set()
    for row in re.findall(r"^\| [^|]+ \| ([^|]+) \|", text, re.MULTILINE):
        stack = ""
        for name, word in re.findall(rf"`(\w+)`|\b({'|'.join(FILES)})\b", row):
            stack = word or stack
            if name and stack:
                listed.add((stack, name))
    kept = set()
    for stack in FILES:
        made = expanded("prod") if stack == "realtime" else expanded_stack(stack, "prod")
        kept |= {
            (stack, name)
            for name, resource in made["Resources"].items()
            if resource.get("DeletionPolicy", "Delete") != "Delete" and resource["Type"] != "AWS::Glue::Table"
        }
    layers = {("lake", f"{what}{layer}") for what in ("Work", "Published") for layer in LAYERS}
    assert kept - layers == listed
