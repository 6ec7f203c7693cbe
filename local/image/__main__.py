"""`make image-tree`, `make image-check`, `make sbom`: python -m local.image make | check | parts

`make` carries out the Dockerfile's steps in build/image-tree. `check` does so once more, elsewhere, from a copy of the
project, compares every file, and starts each role from it. `parts` writes build/sbom.json: of build/image.tar if `make
image` left it, of build/image-tree otherwise. Exit code 1, with the reason, if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.home import REPOSITORY
from local.image import archive, files, parts, tasks, whole
from local.image.building import Image, Stage, StepFailed
from local.image.dockerfile import context, patterns
from local.image.sandbox import NoSandbox

BUILD = REPOSITORY / "build"
TREE = BUILD / "image-tree"
CACHE = BUILD / "image-cache"
USER = 10001
ADDED = ("opt/python", "opt/gavel", "var/gavel")
_OF_INDEX = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")  # fmt: skip


def image(folder: Path, project: Path = REPOSITORY) -> Image:
    """The image of a project, to be made in a folder, as of the commit that the repository is at."""
    index = {name: os.environ[name] for name in _OF_INDEX if name in os.environ}
    return Image(folder, project, standing_for_base(), CACHE, moment(), {**index, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})


def moment() -> int:
    """SOURCE_DATE_EPOCH, or the time of the commit: seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    words = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def standing_for_base() -> Path:
    """The prefix of this machine's Python of the base image's version; raises `NoSandbox` if there is none."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    candidates = [shutil.which(f"python{parts.PYTHON}")] + [sys.executable] * (own == parts.PYTHON)
    for program in filter(None, candidates):
        script = "import sys; print(sys.base_prefix)"
        chosen = os.environ | {"PYENV_VERSION": parts.PYTHON}  # pyenv's program starts that one
        answer = subprocess.run([program, "-c", script], check=False, capture_output=True, text=True, env=chosen)
        if answer.returncode == 0:
            return Path(answer.stdout.strip())
    raise NoSandbox(
        f"expected python{parts.PYTHON}, which stands for the base image, on the path, found none that starts"
    )


def wrong_in(stage: Stage, folders: list[Path]) -> list[str]:
    """What no image may have: what its user can write outside of the volumes, or the name of a folder here. What stands
    for the base may name where it comes from."""
    open_to_write = [f"may be written: {path}" for path in files.writable(stage.root, USER)]
    named = [path for path in files.naming(stage.root, [str(f) for f in folders]) if not path.startswith("usr/local/")]
    return [*open_to_write, *(f"names a folder of this machine: {path}" for path in named)]


@contextmanager
def elsewhere() -> Iterator[tuple[Path, Path]]:
    """A folder for a second image, and a copy of the project beside it, whose files have other times."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        project = Path(folder) / "another" / "project"
        for path in (
            *context(REPOSITORY, patterns((REPOSITORY / ".dockerignore").read_text("utf-8"))),
            ".dockerignore",
            "deploy/Dockerfile",
        ):
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / path, project / path)
        yield Path(folder) / "tree", project


def make() -> int:
    """Make the image's files, and say how large they are."""
    made = image(TREE)
    print(f"The base image is not fetched: {made.python} stands for it")
    stage = made.make()
    wrong = wrong_in(stage, [REPOSITORY, made.python])
    for place, size in files.sizes(stage.root, ADDED).items():
        print(f"/{place}: {size / 1e6:.0f} MB")
    listed = files.listing(stage.root)
    print(f"{len(listed)} paths in {stage.root}, {files.fingerprint(listed)}", flush=True)
    return _end([*wrong, *whole.lacking(stage)])


def check() -> int:
    """Make them again, compare, and start each role."""
    if not (TREE / "root").is_dir():
        raise NoSandbox(f"expected {TREE}, found no such folder; run `make image-tree`")
    if (TREE / "root" / "opt" / "gavel").stat().st_mtime != moment():
        raise NoSandbox(f"expected {TREE} to be of this commit, found another one's time; run `make image-tree`")
    with elsewhere() as (folder, project):
        stage = image(folder, project).make()
        here, there = files.listing(TREE / "root"), files.listing(stage.root)
        wrong = [f"differs: {path}\n    {here.get(path)}\n    {there.get(path)}" for path in files.unlike(here, there)]
        print(f"{len(there)} paths, {len(wrong)} differ, {files.fingerprint(there)}", flush=True)
        failed = _end([*wrong, *wrong_in(stage, [folder.parent, image(folder).python])])
        template = REPOSITORY / "deploy" / "pipeline.yaml"
        tasks.start_roles(stage, template, folder.parent / "tasks", lambda text: print(text, flush=True))
    return failed


def list_parts() -> int:
    """Write the list of parts."""
    path, built = BUILD / "sbom.json", BUILD / "image.tar"
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        root = TREE / "root"
        if built.exists():
            root = Path(folder) / "root"
            print(f"{built.name}: {archive.unpack(built, root)}")
        count = parts.write(root, REPOSITORY, moment(), path)
    print(f"{path}: {count} packages, {json.loads(path.read_text('utf-8'))['serialNumber']}")
    return 0


def _end(wrong: list[str]) -> int:
    for line in wrong[:30]:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m local.image", description=__doc__)
    parser.add_argument("what", choices=["make", "check", "parts"])
    chosen = {"make": make, "check": check, "parts": list_parts}[parser.parse_args().what]
    try:
        return chosen()
    except (NoSandbox, StepFailed, tasks.NotWorking, archive.NoImage, parts.PartsDiffer) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
