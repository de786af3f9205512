"""How far a command is: a bar for a person at a terminal, nothing for anybody else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving_runtime.commands import lazy


class Progress:
    """Draws nothing."""

    def at(self, position: int, rows: int) -> None:
        """`position` in bytes of the input, and so many rows that are done."""


@contextmanager
def progress(size: int | None) -> Iterator[Progress]:
    """`size` is what there is to read, in bytes; None where nobody knows."""
    if not sys.stderr.isatty():
        yield Progress()
        return

    columns = (
        lazy.progress.TextColumn("{task.description}"),
        lazy.progress.BarColumn(),
        lazy.progress.TaskProgressColumn(),
        lazy.progress.TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f} a second"),
        lazy.progress.TimeElapsedColumn(),
        lazy.progress.TimeRemainingColumn(),
    )
    with lazy.progress.Progress(*columns, console=lazy.console.Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=size, rows=0, rate=0.0)
        began = time.monotonic()

        class Drawn(Progress):
            def at(self, position: int, rows: int) -> None:
                rate = rows / max(time.monotonic() - began, 0.001)
                bar.update(task, completed=position, rows=rows, rate=rate)

        yield Drawn()
