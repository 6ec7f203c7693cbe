"""Bundles are reproducible, hold only what their function imports, and start without the project's environment."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from contracts import Contracts
from realtime import bundle
from realtime.bundle import FUNCTIONS, Bundle, BundleError, Target, build_bundles, follow_imports, locked, required

HEAVY = {"yaml", "pyarrow", "duckdb", "dagster", "pandas", "boto3", "botocore"}
HEAVY |= {"local", "lakehouse", "assets", "reporting"}

WITHOUT_CONTRACTS = {"authorizer", "tracking"}

LARGEST = {"authorizer": 6_000_000}
"""Bytes of a bundle that has to be larger than a megabyte: the partner API checks signatures with OpenSSL."""

# Runs in an interpreter without site packages. botocore is what Lambda's runtime brings; a stand-in for it is enough,
# because nothing may use it while importing.
START = """
import sys, types, json, importlib, pathlib
for name in "auth awsrequest config credentials exceptions httpsession parsers session utils".split() + [""]:
    name = f"botocore.{name}".rstrip(".")
    module = sys.modules[name] = types.ModuleType(name)
    module.__getattr__ = lambda attribute: type(attribute, (Exception,), {})
sys.path.insert(0, sys.argv[1])
handler = importlib.import_module(sys.argv[2])
for path in pathlib.Path(sys.argv[1]).glob("realtime/**/*.py"):  # also what is imported late
    importlib.import_module(".".join(path.relative_to(sys.argv[1]).with_suffix("").parts).removesuffix(".__init__"))
contracts = []
if hasattr(handler, "CONTRACTS"):
    from contracts.compact import load_compact
    contracts = load_compact(handler.CONTRACTS.read_bytes())
files = [str(vars(m).get("__file__")) for m in list(sys.modules.values())]
outside = [f for f in files if "site-packages" in f]
print(json.dumps({"contracts": list(contracts), "outside": outside, "callable": callable(handler.handle)}))
"""


READ_KEYS = """
import sys
sys.path.insert(0, sys.argv[1])
from realtime.authorizer.keys import parse
print(list(parse(sys.argv[2].encode(), "RS256")))
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    return build_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_bundle_starts_by_itself(
    bundles: dict[str, Bundle], function: str, tmp_path: Path, contracts: Contracts
) -> None:
    with zipfile.ZipFile(bundles[function].path) as file:
        file.extractall(tmp_path)
    command = [sys.executable, "-I", "-S", "-B", "-c", START, str(tmp_path), FUNCTIONS[function]]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    read = [] if function in WITHOUT_CONTRACTS else list(contracts)
    assert found == {"contracts": read, "outside": [], "callable": True}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_bundle_is_small_and_holds_nothing_heavy(bundles: dict[str, Bundle], function: str) -> None:
    path = bundles[function].path
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    assert not {name.split("/")[0].removesuffix(".py") for name in names} & HEAVY
    assert not [name for name in names if name.endswith(".yaml")]
    assert path.stat().st_size < LARGEST.get(function, 1_000_000)


COMPILED = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
def refuse(*arguments, **options):
    raise AssertionError(f"compiled {arguments[1]}")
import botocore.session
importlib.machinery.SourceFileLoader.source_to_code = staticmethod(refuse)
importlib.import_module(sys.argv[2])
print(sys.modules[sys.argv[2]].handle.__code__.co_filename)
"""


def test_nothing_of_a_bundle_is_compiled_when_it_starts(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """Compiling takes a third of a cold import, and a function's folder cannot be written."""
    with zipfile.ZipFile(bundles["relay"].path) as file:
        file.extractall(tmp_path)
    command = [sys.executable, "-I", "-B", "-c", COMPILED, str(tmp_path), FUNCTIONS["relay"]]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "realtime/relay/handler.py")


def test_a_bundle_for_another_python_has_no_bytecode(
    bundles: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "_runs_here", lambda target: False)
    other = build_bundles(tmp_path)["tracking"]
    with zipfile.ZipFile(other.path) as file:
        assert not [name for name in file.namelist() if name.endswith(".pyc")]
    assert other.path.name != bundles["tracking"].path.name


def test_the_bundle_of_the_partner_api_can_check_a_signature(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """PyJWT starts without what it needs for signatures, so starting proves nothing."""
    with zipfile.ZipFile(bundles["authorizer"].path) as file:
        file.extractall(tmp_path)
    key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
    keys = json.dumps({"keys": [{**key, "kid": "k-1"}]})
    command = [sys.executable, "-I", "-S", "-B", "-c", READ_KEYS, str(tmp_path), keys]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "['k-1']"), done.stderr


def test_the_same_sources_give_the_same_bytes(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    again = build_bundles(tmp_path)
    for function, built in bundles.items():
        assert again[function].path.name == built.path.name
        assert again[function].path.read_bytes() == built.path.read_bytes()


def test_what_did_not_change_is_not_built_again(bundles: dict[str, Bundle]) -> None:
    folder = bundles["api"].path.parent
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert build_bundles(folder) == bundles
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_a_changed_contract_is_another_bundle(bundles: dict[str, Bundle], tmp_path: Path, contracts: Contracts) -> None:
    fewer = Contracts({name: c for name, c in contracts.items() if name != "lots"})
    changed = build_bundles(tmp_path, contracts=fewer)
    assert {f for f in bundles if changed[f].key == bundles[f].key} == WITHOUT_CONTRACTS


def test_imports_are_followed_into_functions_and_parents() -> None:
    modules, packages = follow_imports("realtime.api.handler")
    names = {p.relative_to(bundle.ROOT).as_posix() for p in modules}
    assert {"realtime/__init__.py", "realtime/api/store.py", "contracts/__init__.py", "contracts/item.py"} <= names
    assert "contracts/glue.py" not in names
    assert packages == ["orjson"]


def test_a_package_brings_what_it_requires_but_not_what_the_runtime_has() -> None:
    assert required(["orjson"]) == ["orjson"]
    assert required(["PyIceberg_Core", "jinja2"]) == ["jinja2", "markupsafe", "pyiceberg-core"]
    assert required(["boto3"]) == []
    with pytest.raises(BundleError, match="install the set"):
        required(["no-such-package"])


def test_requirements_are_those_of_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "a": ["arm; platform_machine == 'aarch64'", "old; python_version < '3.13'", "x; extra == 'more'"],
        "arm": ["win; sys_platform == 'win32'"],
    }
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: texts.get(name))
    assert required(["a"], Target("3.13", "arm64")) == ["a", "arm"]
    assert required(["a"], Target("3.12", "x86_64")) == ["a", "old"]


def test_a_package_that_is_not_locked_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("orjson==3.11.0 \\\n    --hash=sha256:0\norjson-extra==1.0\n", encoding="utf-8")
    assert locked("orjson", lock) == ["orjson==3.11.0 \\", "    --hash=sha256:0"]
    with pytest.raises(BundleError, match="compile the lock"):
        locked("requests", lock)
