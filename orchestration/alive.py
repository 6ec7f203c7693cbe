"""Whether a task of production does its work: what ECS runs in its container, and replaces the task by if it fails.

    python -m orchestration.alive web|daemon|code

Each check begins with a new connection to the database. RDS changes the password, and a task has the one that it was
started with: from then on it fails here, and the task that replaces it gets the new one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from urllib.request import urlopen

import psycopg

CONNECT, ANSWER = 10, 45
"""Seconds for the database, and for what Dagster says. Together they stay below the timeout that the template gives
the check, so that one that waits in vain says for what. Dagster's commands take a second of processor to start, and
tasks have half a processor, which they may need themselves: slow is not dead."""
COMMANDS: Mapping[str, Sequence[str]] = {
    "web": (),
    "daemon": ("dagster-daemon", "liveness-check"),
    "code": ("dagster", "api", "grpc-health-check", "--port", "4000"),
}
"""What Dagster has to say about itself; the web server answers a request."""


def check(task: str, variables: Mapping[str, str]) -> None:
    """Return if the task does its work; raises `OSError`, `psycopg.Error` or `SubprocessError` otherwise."""
    psycopg.connect(
        host=variables["DAGSTER_DB_HOST"],
        user=variables["DAGSTER_DB_USER"],
        password=variables["DAGSTER_DB_PASSWORD"],
        port=int(variables.get("DAGSTER_DB_PORT", "5432")),
        dbname="dagster",
        connect_timeout=CONNECT,
    ).close()
    if task == "web":
        urlopen("http://127.0.0.1:3000/server_info", timeout=ANSWER).close()
    else:
        subprocess.run(COMMANDS[task], check=True, timeout=ANSWER)


if __name__ == "__main__":
    check(sys.argv[1], os.environ)
