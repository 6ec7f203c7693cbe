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
from tests.support.documents import Block, blocks, commands, is_command

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
