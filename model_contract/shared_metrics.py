"""Metrics of all workers in one piece of memory, made before the fork, with a row for each worker.

Adding to a cell costs a tenth of a microsecond; prometheus_client's files for several processes cost five to ten,
several times a request.
"""

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

CELL: Final = 8  # bytes, of a double
NO_LABELS: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`kind` is counter, gauge or histogram. `series` are the values that its labels may have, known in advance.

    `bounds` are a histogram's.
    """

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()
    series: Sequence[tuple[str, ...]] = (NO_LABELS,)
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """The cells of one series: those of a histogram are its buckets, the one without a bound, and the sum."""
        return len(self.bounds) + 2 if self.bounds else 1


class SharedMetrics:
    """Cells for the metrics of all workers. Each worker has its own row, so that no two write the same cell.

    The sum of a column is the count of all workers, those that have ended included.
    """

    def __init__(self, metrics: Sequence[Metric], rows: int) -> None:
        self.metrics = metrics
        self.starts: Mapping[str, int] = dict(zip((metric.name for metric in metrics), _starts(metrics), strict=True))
        self._width = sum(metric.width * len(metric.series) for metric in metrics)
        self._rows = rows
        self._cells = memoryview(mmap.mmap(-1, rows * self._width * CELL)).cast("d")
        self._taken: dict[int, int] = {}

    def take(self, worker: int) -> int:
        """Return the row of a new worker. The gauges of an ended worker that had the row before are set to zero."""
        row = next(row for row in range(self._rows) if row not in self._taken.values())
        self._taken[worker] = row
        for metric in self.metrics:
            if metric.kind == "gauge":
                start = row * self._width + self.starts[metric.name]
                for cell in range(start, start + len(metric.series)):
                    self._cells[cell] = 0.0
        return row

    def leave(self, worker: int) -> None:
        """Free the row of a worker that has ended. Its counts stay."""
        self._taken.pop(worker, None)

    def row(self, number: int) -> "memoryview[float]":
        """Return the cells of a row, in the order of `metrics`; writing to them counts."""
        return self._cells[number * self._width : (number + 1) * self._width]

    def sums(self) -> list[float]:
        """Return the sum of each column over all rows."""
        rows = [self.row(number) for number in range(self._rows)]
        return [sum(column) for column in zip(*rows, strict=True)]


def _starts(metrics: Sequence[Metric]) -> list[int]:
    return [0, *accumulate(metric.width * len(metric.series) for metric in metrics)][:-1]


def exposition(shared: SharedMetrics) -> bytes:
    """Return all metrics in Prometheus' text format, version 0.0.4.

    A series of zero is left out if there are others beside it.
    """
    sums = shared.sums()
    lines: list[str] = []
    for metric in shared.metrics:
        lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
        start = shared.starts[metric.name]
        for position, values in enumerate(metric.series):
            cells = sums[start + position * metric.width : start + (position + 1) * metric.width]
            if any(cells) or len(metric.series) == 1:
                lines += _series(metric, dict(zip(metric.labels, values, strict=True)), cells)
    return joined(lines)


def renamed(shared: SharedMetrics, known: str, name: str, labels: Mapping[str, str]) -> list[str]:
    """Return the metric `known`, which has no labels, under another name and with labels."""
    metric = next(metric for metric in shared.metrics if metric.name == known)
    start = shared.starts[known]
    return [
        f"# TYPE {name} {metric.kind}",
        *_series(replace(metric, name=name), labels, shared.sums()[start : start + metric.width]),
    ]


def gauge(name: str, meaning: str, labels: Mapping[str, str], value: float) -> list[str]:
    """Return the lines of a gauge that has no cell, with its value."""
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", _line(name, labels, value)]


def joined(lines: Sequence[str]) -> bytes:
    """Return the lines as the body of an answer."""
    return ("\n".join(lines) + "\n").encode()


def _series(metric: Metric, labels: Mapping[str, str], cells: Sequence[float]) -> list[str]:
    if not metric.bounds:
        return [_line(metric.name, labels, cells[0])]
    *buckets, total = cells
    cumulated = list(accumulate(buckets))
    bounds = [*(f"{bound:g}" for bound in metric.bounds), "+Inf"]
    return [
        *(
            _line(f"{metric.name}_bucket", {**labels, "le": bound}, count)
            for bound, count in zip(bounds, cumulated, strict=True)
        ),
        _line(f"{metric.name}_sum", labels, total),
        _line(f"{metric.name}_count", labels, cumulated[-1]),
    ]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{told}}} {value:.17g}" if told else f"{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
