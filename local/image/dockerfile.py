"""Reads what says how the image is made: the instructions of a Dockerfile, and what of the project they may copy."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = frozenset({"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "HEALTHCHECK"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class UnknownStep(ValueError):
    """The Dockerfile has an instruction, or a pattern of what is left out, that is not carried out here."""


@dataclass(frozen=True)
class Step:
    """One instruction, in one line, without its flags: `--from=packages` is `{"from": ["packages"]}`."""

    name: str
    rest: str
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)


def steps(text: str) -> list[Step]:
    """The instructions of a Dockerfile in their order; raises `UnknownStep`."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if not name:
            continue
        if name not in KNOWN:
            raise UnknownStep(f"expected one of {', '.join(sorted(KNOWN))}, found: {line}")
        flags: dict[str, list[str]] = {}
        rest = rest.strip()
        while rest.startswith("--"):
            flag, _, rest = rest.partition(" ")
            key, _, value = flag.removeprefix("--").partition("=")
            flags.setdefault(key, []).append(value)
            rest = rest.lstrip()
        found.append(Step(name, " ".join(rest.split()) if name != "RUN" else rest, flags))
    return found


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A text with `$NAME` and `${NAME}` replaced; what is not known is empty, as for Docker."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def pairs(rest: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What an ENV or ARG sets; an ARG without a value is one that who builds has to give."""
    found = {}
    for word in shlex.split(rest):
        name, _, value = word.partition("=")
        found[name] = expanded(value, variables)
    return found


def ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether a file's path in the project matches a pattern of `.dockerignore`, or a folder above it does."""
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return any(
        fnmatch.fnmatchcase(part.rsplit("/", 1)[-1], pattern[3:])
        if pattern.startswith("**/")
        else fnmatch.fnmatchcase(part, pattern) and part.count("/") == pattern.count("/")
        for pattern in patterns
        for part in above
    )


def patterns(text: str) -> list[str]:
    """The patterns of a `.dockerignore`; raises `UnknownStep` for exceptions, which are not known here."""
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if strange := [pattern for pattern in found if pattern.startswith("!")]:
        raise UnknownStep(f"expected patterns of what is left out, found exceptions: {strange}")
    return found


def context(project: Path, left_out: Sequence[str]) -> Iterator[str]:
    """The files of the project that the image may copy, by their paths, sorted within each folder."""
    for folder, folders, files in os.walk(project):
        place = Path(folder).relative_to(project)
        folders[:] = sorted(f for f in folders if not ignored((place / f).as_posix(), left_out))
        yield from (p for f in sorted(files) if not ignored(p := (place / f).as_posix(), left_out))
