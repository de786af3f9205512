"""How far a command is: a bar for a person at a terminal, nothing for anybody else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
    from rich.console import Console  # noqa: PLC0415  a pipe needs none of it
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415  as above
    from rich.progress import Progress as RichProgress  # noqa: PLC0415  as above

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=size, rows=0)

        class Drawn(Progress):
            def at(self, position: int, rows: int) -> None:
                bar.update(task, completed=position, rows=rows)

        yield Drawn()
