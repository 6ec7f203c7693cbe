"""CloudFront's functions of deploy/dashboard.yaml, run by Node, take a path as the laptop's server does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from local.dashboard.build import node
from local.dashboard.server import Front
from tests.support.expanded import expanded_stack

PATHS = (
    *("/", "/orders/o-1", "/parties/a.b", "/orders/a%2Fb", "/lots/%zz", "/signed-in", "/api", "/lots/index.html"),
    *("/assets/index-1.js", "/assets/gone.js", "/assets/", "/assets", "/favicon.svg", "/index.html", "/favicon.svg/x"),
    *("/%61ssets/index-1.js", "/%61ssets/gone.js", "/%66avicon.svg", "//etc/passwd", "/assets/..%2f..%2fsecret.txt"),
)


@pytest.fixture(scope="module")
def program() -> Path:
    return node(print)[0]


@pytest.fixture
def front(tmp_path: Path) -> Front:
    folder = tmp_path / "site"
    (folder / "assets").mkdir(parents=True)
    for name in ("index.html", "favicon.svg", "assets/index-1.js"):
        (folder / name).touch()
    (tmp_path / "secret.txt").touch()
    return Front(folder, "https://api/prod", "", {})


def answers(program: Path, function: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a function of the template makes of requests."""
    code = expanded_stack("dashboard", "prod")["Resources"][function]["Properties"]["FunctionCode"]
    script = f"{code}\nconsole.log(JSON.stringify({json.dumps(requests)}.map((request) => handler({{ request }}))));"
    done = subprocess.run([str(program)], input=script, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_a_path_leads_to_the_file_that_the_laptops_server_answers_with(program: Path, front: Front) -> None:
    def in_bucket(path: str) -> Path | None:
        """The object at a path; S3 knows no folders, so `..` is a part of a name like others."""
        name = unquote(path).removeprefix("/")
        return next(
            (f for f in front.folder.rglob("*") if f.is_file() and f"{f.relative_to(front.folder)}" == name), None
        )

    made = answers(program, "Pages", [{"uri": path} for path in PATHS])
    found = {path: in_bucket(request["uri"]) for path, request in zip(PATHS, made, strict=True)}
    assert found == {path: front.file(path) for path in PATHS}
    assert {"index.html", "favicon.svg", "index-1.js"} == {file.name for file in found.values() if file}


def test_the_api_gets_a_path_without_its_prefix_and_no_cookie(program: Path, front: Front) -> None:
    paths = ("/api/orders/o-1", "/api/orders/a%2Fb", "/api/", "/api/api/x")
    sent = {"headers": {"authorization": {"value": "Bearer t"}}, "querystring": {"limit": {"value": "1"}}}
    made = answers(program, "ToApi", [{"uri": path, "cookies": {"c": {"value": "d"}}, **sent} for path in paths])
    assert [f"{front.api}{request.pop('uri')}" for request in made] == [front.behind("GET", path) for path in paths]
    assert made == [{"cookies": {}, **sent}] * len(paths)
