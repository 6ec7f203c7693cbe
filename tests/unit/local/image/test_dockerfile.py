"""A Dockerfile is read as Docker reads it, as far as ours goes, and no further."""

from __future__ import annotations

import pytest

from local.image.dockerfile import UnknownStep, expanded, ignored, pairs, patterns, steps


def test_steps_are_read_over_lines_without_comments_and_with_their_flags() -> None:
    found = steps(
        "# first\nFROM a AS b\nRUN --mount=type=cache,target=/c \\\n    one \\\n  && two\n\nCOPY --from=b /x /y\n"
    )
    assert [(step.name, step.rest.split()) for step in found] == [
        ("FROM", ["a", "AS", "b"]), ("RUN", ["one", "&&", "two"]), ("COPY", ["/x", "/y"]),
    ]  # fmt: skip
    assert [step.flags for step in found] == [{}, {"mount": ["type=cache,target=/c"]}, {"from": ["b"]}]


def test_an_instruction_that_is_not_carried_out_is_refused() -> None:
    with pytest.raises(UnknownStep, match="ENTRYPOINT"):
        steps('FROM a\nENTRYPOINT ["x"]')
    with pytest.raises(UnknownStep, match="!README"):
        patterns("*.md\n!README.md\n")


def test_variables_are_filled_in() -> None:
    assert expanded("${A}:$B-$C", {"A": "1", "B": "2"}) == "1:2-"
    assert pairs('PATH=/x:$PATH NAME="a b" EMPTY=', {"PATH": "/bin"}) == {"PATH": "/x:/bin", "NAME": "a b", "EMPTY": ""}


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("tests/unit/test_a.py", True),
        ("assets/__pycache__/a.pyc", True),
        ("deploy/parameters/prod.json", True),
        ("deploy/dagster.yaml", False),
        ("ops/tests/a.py", False),
        (".venv/bin/python", True),
        ("dbt_project/.sqlfluff", False),
    ],
)
def test_patterns_are_of_the_root_unless_they_say_otherwise(path: str, out: bool) -> None:
    assert ignored(path, patterns("# said\n.*\n**/__pycache__\ndeploy/parameters\ntests\n")) is out
