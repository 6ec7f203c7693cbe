"""Looks at an image's files: whether two are the same, who may write them, what they name, how large they are."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SCRATCH = ("var/gavel", "tmp", "var/tmp", "dev", "proc", "sys")
"""What belongs to the image's user or to everybody: volumes in production, or covered."""


def listing(root: Path) -> dict[str, str]:
    """Each path below a root with its kind, permissions, owner, time and the hash of its content; of a link where it
    points."""
    found = {}
    for folder, folders, files in os.walk(root):
        for path in (Path(folder) / name for name in (*folders, *files)):
            seen = path.lstat()
            if stat.S_ISLNK(seen.st_mode):
                content = f"-> {os.readlink(path)}"
            elif stat.S_ISDIR(seen.st_mode):
                content = "folder"
            else:
                with path.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").hexdigest()
            owner, time = f"{seen.st_uid}:{seen.st_gid}", f"{seen.st_mtime:.0f}"
            found[path.relative_to(root).as_posix()] = f"{seen.st_mode:o} {owner} {time} {content}"
    return dict(sorted(found.items()))


def unlike(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """The paths that are not the same in two listings."""
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def fingerprint(found: Mapping[str, str]) -> str:
    """One SHA-256 of a whole listing."""
    return hashlib.sha256("\n".join(f"{path} {said}" for path, said in sorted(found.items())).encode()).hexdigest()


def writable(root: Path, user: int) -> Iterator[str]:
    """What this user could write outside of scratch space."""
    for folder, folders, files in os.walk(root):
        place = Path(folder).relative_to(root).as_posix()
        folders[:] = [f for f in folders if f"{place}/{f}".removeprefix("./") not in SCRATCH]
        for path in (Path(folder) / name for name in (*folders, *files)):
            found = path.lstat()
            if not stat.S_ISLNK(found.st_mode) and (found.st_mode & stat.S_IWOTH or found.st_uid == user):
                yield path.relative_to(root).as_posix()


def naming(root: Path, names: Sequence[str]) -> list[str]:
    """The files whose content holds one of these texts: folders of who built it."""
    wanted = [name.encode() for name in names]
    found = []
    for folder, _, files in os.walk(root):
        for path in (Path(folder) / name for name in files):
            if not path.is_symlink() and any(name in path.read_bytes() for name in wanted):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def sizes(root: Path, places: Sequence[str]) -> dict[str, int]:
    """Bytes of the files below each of these places; a file with two names counts once."""
    found = {}
    for place in places:
        seen = {
            (s.st_dev, s.st_ino): s.st_size for p in (root / place).rglob("*") if stat.S_ISREG((s := p.lstat()).st_mode)
        }
        found[place] = sum(seen.values())
    return found
