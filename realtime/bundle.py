"""Builds the functions' bundles: reproducible zip files that hold what a function imports, and nothing else.

A bundle holds the function's own modules (found by following its imports), the contracts as one JSON document if they
read them, and the third-party packages that those modules import with what these require, in the versions of the lock.
boto3 and botocore are the runtime's. Beside the sources lies their bytecode, because a function's folder cannot be
written, and compiling is a third of a cold import; a build with another Python than the function's leaves it out. Same
sources, lock and Python, same bytes; the file's name is their hash.

Two ways to get third-party packages: for the laptop they are copied from the running environment, which was installed
from the same lock (no network, well under a second); for AWS, pip downloads the wheels of the target's Python and
processor by their hashes. pip installs a given list and resolves nothing: which packages a function needs follows
from its imports, and the laptop finds them without a network.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import importlib.util
import marshal
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

from contracts import Contracts, load_contracts
from contracts.compact import dump_compact

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "lock.txt"
FUNCTIONS = {
    "api": "realtime.api.handler",
    "authorizer": "realtime.authorizer.handler",
    "fanout": "realtime.fanout.handler",
    "inbound": "realtime.inbound.handler",
    "relay": "realtime.relay.handler",
    "tracking": "realtime.tracking.handler",
}
CONTRACTS_FILE = "realtime/contracts.json"
CONTRACTS_READER = "contracts/compact.py"  # whoever imports it has contracts to read

_OWN = ("contracts", "realtime")
_RUNTIME = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six"})
_TYPES_ONLY = re.compile(r"mypy_boto3_\w+")
# Imported inside functions that only read contract files; a function reads the compact document instead.
_NOT_IN_FUNCTIONS = frozenset({"yaml", "jsonschema_rs"})
_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip file can say


class BundleError(RuntimeError):
    """A bundle cannot be built; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a bundle has to run on: Python as "3.13", processor as Lambda calls it (arm64 or x86_64)."""

    python: str
    architecture: str

    @property
    def platforms(self) -> tuple[str, ...]:
        """Wheel platforms that run there, newest first: Lambda's Amazon Linux 2023 has glibc 2.34."""
        machine = _MACHINES[self.architecture]
        return tuple(
            f"{name}_{machine}" for name in ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
        )

    @property
    def markers(self) -> dict[str, str]:
        """What the markers of requirements are compared with."""
        here = {name: str(value) for name, value in default_environment().items()}
        return here | {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "platform_machine": _MACHINES[self.architecture],
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
        }


@dataclass(frozen=True, slots=True)
class Bundle:
    """A built bundle: function, file, and the key under which it is uploaded (its name holds its hash)."""

    function: str
    path: Path

    @property
    def key(self) -> str:
        return f"bundles/{self.path.name}"

    @property
    def parameter(self) -> str:
        """The template's parameter that takes the key."""
        return f"{self.function.capitalize()}Bundle"


def build_bundles(
    output: Path, *, target: Target | None = None, contracts: Contracts | None = None
) -> dict[str, Bundle]:
    """All bundles by function name, in the folder `output`.

    `target` None means the running Python on this machine. Bundles whose content did not change are not written again.
    Raises `BundleError`.
    """
    document = dump_compact(contracts if contracts is not None else load_contracts())
    output.mkdir(parents=True, exist_ok=True)
    return {name: _build(name, module, output, target, document) for name, module in FUNCTIONS.items()}


def _build(name: str, module: str, output: Path, target: Target | None, document: bytes) -> Bundle:
    modules, packages = follow_imports(module)
    sources = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in modules}
    if CONTRACTS_READER in sources:
        sources[CONTRACTS_FILE] = document
    distributions = required((_distribution(package) for package in packages), target)
    fingerprint = _fingerprint(sources, distributions, target)
    path = output / f"{name}-{fingerprint}.zip"
    if not path.exists():
        files = sources | _third_party(distributions, target)
        _write_zip(path, files | (_bytecode(files) if _runs_here(target) else {}))
    return Bundle(name, path)


def follow_imports(module: str) -> tuple[list[Path], list[str]]:
    """The files of our own modules that a module imports, itself included, and the other packages they import."""
    files: dict[str, Path] = {}
    packages: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in files:
            continue
        path = _source(name)
        if path is None:
            continue  # `from module import name`: the name is no module
        files[name] = path
        parents = name.split(".")[:-1]
        waiting += [".".join(parents[: i + 1]) for i in range(len(parents))]
        for imported in _imports(path, path.stat().st_mtime_ns):
            top = imported.partition(".")[0]
            if top in _OWN:
                waiting.append(imported)
            elif not (
                top in sys.stdlib_module_names or top in _RUNTIME or top in _NOT_IN_FUNCTIONS or _TYPES_ONLY.match(top)
            ):
                packages.add(top)
    return sorted(files.values()), sorted(packages)


def _source(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)


@cache
def _imports(path: Path, written: int) -> Sequence[str]:
    """What a file imports; `written` is its time, because functions share most files, and files change."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return found


def _fingerprint(sources: Mapping[str, bytes], distributions: Sequence[str], target: Target | None) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(sources.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    here = f"{sys.implementation.cache_tag} {sys.platform}"
    digest.update(f"{target or here}".encode())
    digest.update(importlib.util.MAGIC_NUMBER if _runs_here(target) else b"")
    for distribution in distributions:
        digest.update("".join(locked(distribution)).encode())
    return digest.hexdigest()[:16]


@cache
def _distributions_by_package() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()  # reads the metadata of everything: half a second


def _distribution(package: str) -> str:
    names = _distributions_by_package().get(package)
    if not names:
        raise BundleError(f"{package}: expected it to be installed, found nothing; install the set `lambda`")
    return names[0]


def required(distributions: Iterable[str], target: Target | None = None) -> list[str]:
    """Distributions with all that they require on the target (None: here), without extras, the runtime's left out.

    Raises `BundleError` for one that is not installed.
    """
    environment = target.markers if target else None
    found: set[str] = set()
    waiting = [_normal(d) for d in distributions]
    while waiting:
        name = waiting.pop()
        if name in found or name.replace("-", "_") in _RUNTIME:
            continue
        found.add(name)
        try:
            texts = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:
            raise BundleError(f"{name}: expected it to be installed, found nothing; install the set `lambda`") from None
        requirements = [Requirement(text) for text in texts]
        waiting += [_normal(r.name) for r in requirements if not r.marker or r.marker.evaluate(environment)]
    return sorted(found)


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def locked(distribution: str, lock: Path = LOCK) -> list[str]:
    """The lines of the lock for one distribution: its version with the hashes of all its files."""
    wanted = _normal(distribution)
    lines = lock.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.partition("==")[0].strip() == wanted:
            end = number + 1
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            return lines[number:end]
    raise BundleError(f"{distribution}: expected a version in {lock.name}, found none; compile the lock again")


def _third_party(distributions: Sequence[str], target: Target | None) -> dict[str, bytes]:
    if target is None:
        return {name: content for d in distributions for name, content in _installed(d)}
    return _downloaded(distributions, target)


def _installed(distribution: str) -> Iterator[tuple[str, bytes]]:
    """The files of an installed distribution, after a check that it is the locked version."""
    found = importlib.metadata.distribution(distribution)
    expected = locked(distribution)[0].partition("==")[2].split()[0]
    if found.version != expected:
        raise BundleError(f"{distribution}: expected {expected} as locked, found {found.version}; install the lock")
    for file in found.files or ():
        if _belongs(file.as_posix()):
            yield file.as_posix(), Path(str(file.locate())).read_bytes()


def _downloaded(distributions: Sequence[str], target: Target) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for d in distributions for line in locked(d)]
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
        installed = Path(folder) / "installed"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-compile"]
        command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python]
        command += [part for platform in target.platforms for part in ("--platform", platform)]
        command += ["--target", str(installed), "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BundleError(f"pip could not get {', '.join(distributions)} for {target}: {done.stderr.strip()}")
        files = sorted(p for p in installed.rglob("*") if p.is_file())
        return {name: path.read_bytes() for path in files if _belongs(name := path.relative_to(installed).as_posix())}


def _belongs(name: str) -> bool:
    """Whether a file of a distribution is needed to run it."""
    parts = name.split("/")
    metadata = parts[0].endswith(".dist-info")
    return not (
        ".." in parts
        or "__pycache__" in parts
        or parts[0] == "bin"
        or (metadata and parts[-1] in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"))
        or name.endswith((".pyi", ".pyc"))
    )


def _runs_here(target: Target | None) -> bool:
    """Whether the function's Python is the one that runs, and has the same bytecode."""
    return target is None or target.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def _bytecode(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What Python would write beside the sources at their first import. It is loaded without a look at the source."""
    sources = {name: content for name, content in files.items() if name.endswith(".py")}
    return {_cached(name): code for name, content in sources.items() if (code := _compiled(content)) is not None}


def _cached(name: str) -> str:
    """Where Python looks for the bytecode of a source."""
    path = Path(name)
    return (path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc").as_posix()


@cache
def _compiled(source: bytes) -> bytes | None:
    """A source's bytecode file, the same each time; None for one of another Python. Importing puts the path in."""
    try:
        code = compile(source, "bundle", "exec", dont_inherit=True, optimize=0)
    except SyntaxError:
        return None
    unchecked = (0b01).to_bytes(4, "little")
    # The second format: later ones write a value once, or not, as there are references to it in this process.
    return importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source) + marshal.dumps(code, 2)


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w") as file:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content)
    unfinished.replace(path)


def main() -> None:
    """Build bundles for AWS and print the template parameters that name them, one `Name=value` a line."""
    parser = argparse.ArgumentParser(prog="python -m realtime.bundle", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bundles", help="folder for the zip files")
    parser.add_argument("--python", default="3.13", help="version of the Lambda runtime (default %(default)s)")
    parser.add_argument("--architecture", default="arm64", choices=["arm64", "x86_64"])
    options = parser.parse_args()
    target = Target(options.python, options.architecture)
    bundles = build_bundles(options.output, target=target)
    entities = ",".join(c.name for c in load_contracts().of_origin("stream"))
    parameters = {
        "Entities": entities,
        "PythonRuntime": f"python{target.python}",
        "Architecture": target.architecture,
        **{bundle.parameter: bundle.key for bundle in bundles.values()},
    }
    sys.stdout.writelines(f"{name}={value}\n" for name, value in parameters.items())


if __name__ == "__main__":
    main()
