"""Clocks that jump: of Lambda functions, and of all of Dagster's processes, moved by a small library that they load.

It needs Linux and a C compiler (`cc`); where there is none, clocks do not jump, and the result says so.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
FUNCTIONS, PIPELINE = "functions", "pipeline"


@dataclass(frozen=True)
class Clocks:
    """The library, and the folder of the files that move clocks."""

    library: Path
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Clocks | None:
        """Build the library in a folder; None where that cannot be."""
        compiler = shutil.which("cc")
        if compiler is None or sys.platform != "linux":
            return None
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "clock.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
        clocks = cls(library, folder)
        for whose in (FUNCTIONS, PIPELINE):
            (folder / whose).write_bytes(struct.pack("=q", 0))
        return clocks

    def of_functions(self) -> Mapping[str, str]:
        """The environment of the emulator, which hands it to functions and keeps the true time itself."""
        return {"LD_PRELOAD": str(self.library), "GAVEL_CLOCK": str(self.folder / FUNCTIONS)}

    def of_pipeline(self) -> Mapping[str, str]:
        """The environment of Dagster."""
        return {
            "LD_PRELOAD": str(self.library),
            "GAVEL_CLOCK": str(self.folder / PIPELINE),
            "GAVEL_CLOCK_ALL": "1",
        }

    def move(self, whose: str, seconds: int) -> None:
        """Let clocks be so many seconds ahead of the true time from now on; 0 sets them right."""
        with (self.folder / whose).open("r+b") as file:  # in place: processes have mapped it
            file.write(struct.pack("=q", seconds))
