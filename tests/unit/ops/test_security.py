"""What an operator or a script types is looked up, and is never a part of something else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts import Contracts
from ops.command_line import app
from ops.environment import Environment
from tests.support.depth import examples
from tests.support.lakes import PARCELS, Clock, local_lake

NAMES = st.one_of(st.text(max_size=20), st.text(st.sampled_from("./'\";*\\- \n"), min_size=1, max_size=12))
COMMANDS = (
    ("rebuild", "--dry-run"),
    ("requeue",),
    ("roll-back",),
    ("replay", "--start", "2026-11-21T00:00:00Z", "--end", "2026-11-22T00:00:00Z"),
    ("archive", "ask", "--to", "answer.json"),
)


@given(st.sampled_from(COMMANDS), NAMES)
@example(("rebuild",), "../parcels")
@example(("rebuild",), "parcels'; DROP TABLE parcels; --")
@settings(max_examples=examples(40), deadline=None)
def test_no_name_that_is_typed_leads_elsewhere(command: tuple[str, ...], name: str) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        lake = local_lake(Path(folder) / "lake", Clock())
        patch.chdir(folder)
        patch.setattr(Environment, "contracts", lambda self: Contracts({"parcels": PARCELS}))
        patch.setattr(Environment, "lake", lake)
        before = sorted(Path(folder).rglob("*"))
        result = CliRunner().invoke(app, [*command, "--environment", "test", "--", name])
        assert result.exit_code in (1, 2), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert sorted(Path(folder).rglob("*")) == before, "a refusal writes nothing"
