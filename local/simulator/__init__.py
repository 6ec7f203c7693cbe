"""The traffic simulator: an invented auction house whose every change goes through the HTTP API.

`generate` makes two years of it as plain `Request` values, `live` goes on from now without an end; both are decided by
their seed alone and need no network. `simulate` and `simulate_live` send them.
"""

from local.simulator.countries import DroppedFile, country_files
from local.simulator.driver import simulate, simulate_live
from local.simulator.history import generate, live, start_of_day

__all__ = [
    "DroppedFile",
    "country_files",
    "generate",
    "live",
    "simulate",
    "simulate_live",
    "start_of_day",
]
