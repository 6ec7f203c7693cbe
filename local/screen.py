"""How commands show what they do: one line for each step, with a bar while it runs and its time when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


@dataclass
class Step:
    """A step that is under way. `note` is what its last line says beside its name."""

    _progress: Progress | None = None
    _task: TaskID | None = None
    note: str = ""

    def update(self, done: int | None = None, total: int | None = None, text: str | None = None) -> None:
        """Show how far the step is; without a total the bar only moves."""
        if self._progress is None or self._task is None:
            return
        self._progress.update(self._task, completed=done, total=total)
        if text is not None:
            self._progress.update(self._task, text=text)


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", style="dim"),
    )


@dataclass
class Screen:
    """The terminal. Where the output is no terminal, the same lines without bars."""

    console: Console

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step while the block runs, and leave one line when it is done."""
        started = time.monotonic()
        if self.console.is_terminal:
            with Progress(*_columns(), console=self.console, transient=True) as progress:
                step = Step(progress, progress.add_task(name, total=None, text=""))
                yield step
        else:
            self.console.print(f"… {name}")
            step = Step()
            yield step
        seconds = time.monotonic() - started
        note = f"  [dim]{step.note}[/dim]" if step.note else ""
        self.console.print(f"[green]✓[/green] {name} [dim]{seconds:.1f} s[/dim]{note}", highlight=False)

    def say_all(self, text: str) -> None:
        """A text of several lines, as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line between steps."""
        self.console.print(f"  {text}", highlight=False)
