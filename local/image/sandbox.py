"""Runs a program with a folder as the root of its file system: namespaces of the kernel (`unshare`), no Docker.

Programs and libraries of the operating system are this machine's, read-only; all else is the folder's. The program has
processes of its own, and the network of whoever starts it. Needs Linux and root, for an image has two users.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

OF_MACHINE = ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc/ssl", "etc/resolv.conf", "etc/hosts")
"""What a base image has and a folder here gets from this machine; missing ones are left out."""
_SCRIPT = """
set -e
root=$1 writable=$2 user=$3 machine=$4; shift 4
mount --bind "$root" "$root"
for path in $machine; do
    mount --bind "/$path" "$root/$path"
    mount -o remount,bind,ro "$root/$path"
done
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root$2"
    [ "$3" = writable ] || mount -o remount,bind,ro "$root$2"
    shift 3
done
shift
[ "$writable" = yes ] || mount -o remount,bind,ro "$root"
# Not `exec`: a process that changes its user forgets to end with its parent. This one ends, and with it all others.
setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
exit $?
"""


class NoSandbox(RuntimeError):
    """This machine cannot give a program a root of its own."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of this machine at a place of the root, which has to exist there."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Sandbox:
    """How programs run in a root. `user` is `uid:gid`; a root that is not `writable` has only its binds to write to."""

    root: Path
    environment: Mapping[str, str]
    workdir: str = "/"
    user: str = "0:0"
    writable: bool = False
    binds: Sequence[Bind] = field(default_factory=tuple)

    def command(self, program: Sequence[str]) -> list[str]:
        """What to start on this machine so that the program runs there; ending it ends all that the program started."""
        machine = " ".join(p for p in OF_MACHINE if os.path.exists(f"/{p}") and (self.root / p).exists())
        binds = [w for b in self.binds for w in (str(b.source), b.target, "writable" if b.writable else "read-only")]
        inside = [
            "/usr/bin/env",
            "-i",
            "-C",
            self.workdir,
            *(f"{k}={v}" for k, v in self.environment.items()),
            *program,
        ]
        given = [str(self.root), "yes" if self.writable else "no", self.user, machine]
        return [*unshare(), "--kill-child", "sh", "-c", _SCRIPT, "sandbox", *given, *binds, "--", *inside]


@cache
def unshare() -> tuple[str, ...]:
    """The program that makes namespaces. Raises `NoSandbox` where it may not."""
    words = ("unshare", "--mount", "--pid", "--fork")
    try:
        done = subprocess.run([*words, "true"], check=False, capture_output=True, text=True)
        reason = "" if done.returncode == 0 and os.geteuid() == 0 else done.stderr.strip() or "it is no root"
    except FileNotFoundError:
        reason = "there is no such program"
    if reason:
        raise NoSandbox(f"expected that `{' '.join(words)}` works as root, found: {reason}; run it as root on Linux")
    return words
