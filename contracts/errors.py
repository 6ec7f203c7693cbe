"""Problems are collected, so that one look at the error is enough to mend all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from contracts.model import ContractError

Made = TypeVar("Made")


def gathered(parts: Iterable[Callable[[], Made]]) -> list[Made]:
    """What all parts make; raises one `ContractError` with the problems of all that cannot be made."""
    made, problems = [], []
    for part in parts:
        try:
            made.append(part())
        except ContractError as error:
            problems.append(str(error))
    if problems:
        raise ContractError("\n".join(dict.fromkeys(problems)))
    return made


def refuse(problems: Iterable[str], where: str) -> None:
    """Raise one `ContractError` with the problems, each after where it is; nothing if there are none."""
    if found := [f"{where}: {problem}" for problem in problems]:
        raise ContractError("\n".join(found))
