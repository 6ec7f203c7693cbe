"""Carries out the steps of the Dockerfile in a folder. Paths in the image are paths of the root that a step runs in, so
nothing that programs write down names this machine.

One thing is not what it will be: the base image, which cannot be fetched here. A Python of this machine, copied, with
an `/etc` of five files, stands for it; of the operating system the root has what this machine has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.image.dockerfile import Step, context, expanded, pairs, patterns, steps
from local.image.sandbox import Bind, Sandbox

BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run"}
FOLDERS = ("dev", "etc/ssl", "etc/ld.so.conf.d", "home", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "usr/bin",
    "usr/lib", "usr/lib64", "usr/sbin", "var/lib", "var/tmp")  # fmt: skip
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "resolv.conf": "",
    "hosts": "",
    "ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
    "ld.so.conf.d/local.conf": "/usr/local/lib\n/usr/lib/x86_64-linux-gnu\n/usr/lib/aarch64-linux-gnu\n",
}
_NOT_OF_BASE = shutil.ignore_patterns("test", "tests", "__pycache__", "*.a", "pkgconfig")


class StepFailed(RuntimeError):
    """A step of the Dockerfile ended with an error; quotes the end of what it said."""


@dataclass
class Stage:
    """A root in the making, and what its steps have set."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    volumes: str = "[]"


@dataclass
class Image:
    """An image in the making, from the files of `project`, in `folder`, with `epoch` (seconds since 1970) as the time
    of all that is written. `python` is the prefix of a Python that stands for the base image; `cache` stays."""

    folder: Path
    project: Path
    python: Path
    cache: Path
    epoch: int
    index: Mapping[str, str] = field(default_factory=dict)
    """Variables by which a package index is reached from this machine: of the steps of root alone."""
    say: Callable[[str], None] = print
    _given: dict[str, str] = field(default_factory=dict)
    _stages: dict[str, Stage] = field(default_factory=dict)

    def make(self) -> Stage:
        """Carry out all steps; returns the last stage. Raises `StepFailed`, `UnknownStep`, `NoSandbox`."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._given, self._stages = {"SOURCE_DATE_EPOCH": str(self.epoch)}, {}
        written = steps((self.project / "deploy" / "Dockerfile").read_text("utf-8"))
        stage = Stage(self.folder / "none")
        for number, step in enumerate(written, start=1):
            self.say(f"{number:3d}/{len(written)}  {step.name} {' '.join(step.rest.split())[:90]}")
            stage = self._carry_out(step, stage)
        self._settle(stage)
        for other in self._stages.values():
            if other is not stage:
                shutil.rmtree(other.root)
        return stage

    def _carry_out(self, step: Step, stage: Stage) -> Stage:
        match step.name:
            case "FROM":
                return self._from(step)
            case "ARG":
                found = pairs(step.rest, self._given)
                self._given = {**found, **{n: v for n, v in self._given.items() if v}}
                stage.arguments |= {name: self._given[name] for name in found}
            case "ENV":
                stage.environment |= pairs(step.rest, stage.environment)
            case "WORKDIR":
                stage.workdir = step.rest
                (stage.root / stage.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(step, stage)
            case "RUN":
                self._run(step, stage)
            case "USER":
                stage.user = step.rest
            case "VOLUME":
                stage.volumes = step.rest
        return stage

    # ---- the instructions that make files

    def _from(self, step: Step) -> Stage:
        source, _, name = step.rest.partition(" AS ")
        stage = Stage(self.folder / (name or "root"))
        self._stages[name or "root"] = stage
        if source in self._stages:
            earlier = self._stages[source]
            subprocess.run(["cp", "-a", str(earlier.root), str(stage.root)], check=True)
            stage.environment, stage.workdir, stage.user = {**earlier.environment}, earlier.workdir, earlier.user
            return stage
        for folder in FOLDERS:
            (stage.root / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("tmp", "var/tmp"):
            (stage.root / folder).chmod(0o1777)
        for link, target in LINKS.items():
            (stage.root / link).symlink_to(target)
        for path, text in ETC.items():
            (stage.root / "etc" / path).write_text(text, "utf-8")
        bring_python(self.python, stage.root / "usr" / "local")
        prepare = "ldconfig && PYTHONDONTWRITEBYTECODE=1 python -m ensurepip --default-pip"
        self._run(Step("RUN", prepare), stage)
        return stage

    def _copy(self, step: Step, stage: Stage) -> None:
        *sources, target = step.rest.split()
        place = (
            stage.root / target.lstrip("/")
            if target.startswith("/")
            else stage.root / stage.workdir.lstrip("/") / target
        )
        if "from" in step.flags:
            (name,) = step.flags["from"]
            (source,) = sources
            place.mkdir(parents=True, exist_ok=True)
            # Linked: stages that are not the last one go in the end.
            subprocess.run(["cp", "-al", f"{self._stages[name].root}{source}/.", str(place)], check=True)
            return
        left_out = patterns((self.project / ".dockerignore").read_text("utf-8"))
        for path in context(self.project, left_out):
            for source in sources:
                if source == path:
                    inner = Path(path).name
                elif source == "." or path.startswith(f"{source}/"):
                    inner = path if source == "." else path.removeprefix(f"{source}/")
                else:
                    continue
                copied = place / inner
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.project / path, copied)
                copied.chmod(0o755 if os.access(self.project / path, os.X_OK) else 0o644)

    def _run(self, step: Step, stage: Stage) -> None:
        binds = []
        for mount in step.flags.get("mount", ()):
            options = dict(word.partition("=")[::2] for word in mount.split(","))
            target = expanded(options["target"], stage.environment)
            kept = self.cache / target.lstrip("/")
            kept.mkdir(parents=True, exist_ok=True)
            (stage.root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
            binds.append(Bind(kept, target, writable=True))
        root = stage.user == "0:0"
        home = {"HOME": "/root", **self.index} if root else {}
        variables = {**home, **stage.arguments, **stage.environment}
        box = Sandbox(stage.root, variables, stage.workdir, stage.user, writable=True, binds=binds)
        self._await(box.command(["/bin/sh", "-c", step.rest]), step.rest)
        for bind in binds:
            shutil.rmtree(stage.root / bind.target.lstrip("/"))

    def _await(self, command: Sequence[str], what: str) -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise StepFailed(f"{what}\nended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")

    def _settle(self, stage: Stage) -> None:
        """Give what is newer than the commit the commit's time, as `rewrite-timestamp` of `make image` does."""
        for folder, folders, files in os.walk(stage.root, topdown=False):
            for path in (*(Path(folder) / name for name in (*folders, *files)), Path(folder)):
                if path.lstat().st_mtime > self.epoch:
                    os.utime(path, (self.epoch, self.epoch), follow_symlinks=False)


def bring_python(prefix: Path, place: Path) -> None:
    """Copy a Python as the base image has it: program and library, without tests and without any package."""
    (place / "bin").mkdir(parents=True)
    programs = sorted(prefix.glob("bin/python3.[0-9][0-9]"))
    if len(programs) != 1:
        raise StepFailed(f"expected one bin/python3.NN below {prefix}, found {[p.name for p in programs]}")
    (program,) = programs
    shutil.copy2(program, place / "bin")
    for link in ("python", "python3"):
        (place / "bin" / link).symlink_to(program.name)
    shutil.copytree(prefix / "lib" / program.name, place / "lib" / program.name, ignore=_without_packages)
    for library in prefix.glob("lib/libpython*.so*"):
        shutil.copy2(library, place / "lib", follow_symlinks=False)
    (place / "lib" / program.name / "site-packages").mkdir()


def _without_packages(folder: str, names: list[str]) -> set[str]:
    return {
        *_NOT_OF_BASE(folder, names),
        *({"site-packages"} & set(names)),
        *(n for n in names if n.startswith("config-")),
    }
