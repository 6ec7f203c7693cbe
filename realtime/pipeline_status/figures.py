"""The route by which staff read the report's figures, as the pipeline has written them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.api import problems, requests
from realtime.api.caller import Caller
from realtime.api.routes import Answer, Event, Route, Schema


def routes(read_figures: Callable[[], Any]) -> tuple[Route, ...]:
    """`GET /figures`, for staff. `read_figures` reads the pipeline's document, None where there is none."""

    def read(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        found = read_figures()
        if found is None:
            raise problems.no_figures()
        return Answer(200, found)

    return (
        Route(
            "GET", "/figures", "Read the panels of the report", read,
            answers={200: _FIGURES}, errors=(404,),
        ),
    )  # fmt: skip


_FIGURES: Schema = {
    "type": "object",
    "properties": {"version": {"type": "integer", "description": "Of the form of all else."}},
    "required": ["version"],
    "description": "The report's panels with their values, by theme and currency; its form is in reporting/model.py.",
}
