"""A Trino server for the conformance tests: a Java is found, Trino fetched from Maven, started, and ended.

Trino is what Athena's engine is built on. Maven fetches it, so that mirrors and credentials are those of the user's
Maven settings. It is extracted once per version, below `GAVEL_CACHE` or `~/.cache/gavel`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.emulator import tail
from local.ports import free_port
from tests.conformance.support.trino_client import TrinoClient, TrinoError

VERSION = "476"
"""The last release whose slim server is on Maven Central."""
NEEDED_JAVA = 24
CATALOG = "awsdatacatalog"
HIVE = "hive"
"""The catalog of the same Glue for tables that are not Iceberg's, which Athena finds in the first one."""
ARTIFACTS = {
    "server": f"io.trino:trino-server-core:{VERSION}:tar.gz",
    "iceberg": f"io.trino:trino-iceberg:{VERSION}:zip",
    "hive": f"io.trino:trino-hive:{VERSION}:zip",
}
CONNECTORS = ("iceberg", "hive")
_UNPACK = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack"
_START_SECONDS = 600
_HEAP = "2G"


class TrinoUnavailable(RuntimeError):
    """Trino cannot be started here; says what was expected, what was found, and what to do."""


@dataclass(frozen=True)
class Trino:
    """A running server: where it listens, and the AWS endpoint that its catalog reads."""

    url: str
    aws_endpoint: str
    catalog: str = CATALOG


@contextmanager
def running_trino(aws_endpoint: str, region: str, folder: Path, rules: Path | None = None) -> Iterator[Trino]:
    """A Trino whose catalog is the Glue and S3 at `aws_endpoint`; ended when the block is left. `rules` is the file of
    its access control; without one everybody may do everything."""
    java, (server, plugins) = find_java(), installed()
    port = free_port()
    _write_configuration(folder, port, aws_endpoint, region, plugins)
    if rules is not None:
        _control_access(folder, rules)
    log = folder / "trino.log"
    command = [
        str(java),
        f"-Xmx{_HEAP}",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djdk.attach.allowAttachSelf=true",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Dnode.environment=conformance",
        "-Dnode.id=conformance",
        f"-Dnode.data-dir={folder / 'data'}",
        f"-Dconfig={folder / 'config.properties'}",
        f"-Dlog.levels-file={folder / 'log.properties'}",
        f"-Dcatalog.config-dir={folder / 'catalog'}",
        "-cp",
        f"{server / 'lib'}/*",
        "io.trino.server.TrinoServer",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _wait(process, f"http://127.0.0.1:{port}", log)
        yield Trino(f"http://127.0.0.1:{port}", aws_endpoint)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def find_java() -> Path:
    """A Java that is new enough: of JAVA_HOME, on the path, or where systems keep them."""
    candidates = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if os.environ.get("JAVA_HOME") else []
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    for folder, pattern in (
        ("/usr/lib/jvm", "*/bin/java"),
        ("/Library/Java/JavaVirtualMachines", "*/Contents/Home/bin/java"),
    ):
        candidates += sorted(Path(folder).glob(pattern), reverse=True)
    found = {}
    for candidate in dict.fromkeys(c.resolve() for c in candidates if c.exists()):
        found[str(candidate)] = version = _java_version(candidate)
        if version >= NEEDED_JAVA:
            return candidate
    raise TrinoUnavailable(
        f"expected Java {NEEDED_JAVA} or newer for Trino {VERSION}, found {found or 'none'}; install one or set "
        "JAVA_HOME, or name a running Trino by GAVEL_TRINO_URL (see tests/conformance/README.md)"
    )


def _java_version(java: Path) -> int:
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    return int(match[1]) if match else 0


def installed() -> tuple[Path, Path]:
    """The folders of the extracted server and of its plugins; fetched by Maven if they are not there yet."""
    root = Path(os.environ.get("GAVEL_CACHE") or Path.home() / ".cache" / "gavel") / f"trino-{VERSION}"
    for name, artifact in ARTIFACTS.items():
        if not (root / name).exists():
            _unpack(artifact, root, name)
    plugins = root / "plugins"
    plugins.mkdir(exist_ok=True)
    for name in CONNECTORS:
        if not (plugins / name).exists():
            (plugins / name).symlink_to(root / name, target_is_directory=True)
    return root / "server", plugins


def _unpack(artifact: str, root: Path, name: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise TrinoUnavailable(
            "expected Maven (mvn) on the path to fetch Trino with, found none; install it, or name a running Trino by "
            "GAVEL_TRINO_URL (see tests/conformance/README.md)"
        )
    fresh = root / f"{name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    empty, output = fresh / "maven", fresh / "extracted"
    for folder in (empty, output):
        folder.mkdir(parents=True)
    # Maven runs in an empty folder: no project, only the user's settings.
    command = [maven, "-q", "-B", _UNPACK, f"-Dartifact={artifact}", f"-DoutputDirectory={output}"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    extracted = list(output.iterdir())
    if done.returncode != 0 or len(extracted) != 1:
        raise TrinoUnavailable(
            f"{artifact}: expected Maven to fetch and extract it, found:\n{(done.stdout + done.stderr)[-2000:]}\n"
            "Check the repositories in Maven's settings.xml, or name a running Trino by GAVEL_TRINO_URL"
        )
    extracted[0].rename(root / name)
    shutil.rmtree(fresh, ignore_errors=True)


def _write_configuration(folder: Path, port: int, aws_endpoint: str, region: str, plugins: Path) -> None:
    (folder / "catalog").mkdir(parents=True, exist_ok=True)
    _properties(
        folder / "config.properties",
        {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "node.internal-address": "127.0.0.1",
            "http-server.http.port": str(port),
            "discovery.uri": f"http://127.0.0.1:{port}",
            "plugin.dir": str(plugins),
            "query.max-memory": "800MB",
            "query.max-memory-per-node": "800MB",
            "query.min-expire-age": "30s",
        },
    )
    _properties(folder / "log.properties", {"io.trino": "WARN", "io.airlift": "WARN", "Bootstrap": "WARN"})
    shared = {
        "hive.metastore.glue.endpoint-url": aws_endpoint,
        "hive.metastore.glue.region": region,
        "hive.metastore.glue.aws-access-key": "test",
        "hive.metastore.glue.aws-secret-key": "test",
        "fs.native-s3.enabled": "true",
        "s3.endpoint": aws_endpoint,
        "s3.region": region,
        "s3.path-style-access": "true",
        "s3.aws-access-key": "test",
        "s3.aws-secret-key": "test",
    }
    iceberg = {"connector.name": "iceberg", "iceberg.catalog.type": "glue", "iceberg.hive-catalog-name": HIVE}
    _properties(folder / "catalog" / f"{CATALOG}.properties", iceberg | shared)
    hive = {"connector.name": "hive", "hive.metastore": "glue", "hive.partition-projection-enabled": "true"}
    _properties(folder / "catalog" / f"{HIVE}.properties", hive | shared)


def _control_access(folder: Path, rules: Path) -> None:
    """Let the rules decide. `SELECT *` gives the columns that one may read, as Athena does with Lake Formation."""
    file = folder / "access-control.properties"
    _properties(file, {"access-control.name": "file", "security.config-file": str(rules)})
    with (folder / "config.properties").open("a") as more:
        more.write(f"access-control.config-files={file}\nhide-inaccessible-columns=true\n")


def _properties(path: Path, values: dict[str, str]) -> None:
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until the server runs a statement. It says that it has started before it knows of a node to run one on."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/v1/info", timeout=5) as answer:
                has_started = json.load(answer)["starting"] is False
            if has_started and TrinoClient(url, CATALOG).run("SELECT 1").rows == [[1]]:
                return
        except OSError:
            pass  # not listening yet
        except TrinoError as error:
            if error.name != "NO_NODES_AVAILABLE":
                raise
        time.sleep(0.25)
    raise TrinoUnavailable(f"expected Trino to answer within {_START_SECONDS} s, found in {log}:\n{tail(log, 40)}")
