"""Progress and result of `predict`, shown on standard error because standard output may have the predictions."""

import json
import sys
from dataclasses import dataclass
from typing import Final

FORMATS: Final = ("text", "json")


class Progress:
    """Progress that draws nothing."""

    def at(self, position: int, rows: int) -> None:
        """Show the position in the input, in bytes, and the number of rows that are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of a run.

    `refused` of the `rows` have no prediction; the file `errors` has their reasons. `seconds` include the load of the
    model; `load_seconds` is None if each worker process loads a model of its own. `rows_before` of the rows are in
    parts that were finished before. `parts_others` are in the directory too, of files that are not scored now.
    """

    rows: int
    refused: int
    seconds: float
    load_seconds: float | None = None
    errors: str | None = None
    parts: int | None = None
    parts_before: int = 0
    rows_before: int = 0
    parts_others: int = 0

    @property
    def rows_per_second(self) -> float:
        return (self.rows - self.rows_before) / max(self.seconds - (self.load_seconds or 0.0), 0.001)


def print_summary(summary: Summary, form: str) -> None:
    print(_json(summary) if form == "json" else _text(summary), file=sys.stderr)


def _text(summary: Summary) -> str:
    words = [f"{summary.rows:,} rows in {summary.seconds:.1f} s"]
    if summary.load_seconds is not None:
        words[0] += f", {summary.load_seconds:.1f} s of it to load the model"
    if summary.refused:
        words.append(f"{summary.refused:,} of them have no prediction, see {summary.errors}")
    words.append(f"{summary.rows_per_second:,.0f} rows a second")
    if summary.parts is not None:
        before = f", {summary.parts_before:,} of them finished before" if summary.parts_before else ""
        words.append(f"{summary.parts:,} parts{before}")
    if summary.parts_others:
        words.append(f"{summary.parts_others:,} parts of other files stay in the directory")
    return "; ".join(words)


def _json(summary: Summary) -> str:
    return json.dumps(
        {
            "rows": summary.rows,
            "refused": summary.refused,
            "seconds": round(summary.seconds, 3),
            "load_seconds": None if summary.load_seconds is None else round(summary.load_seconds, 3),
            "rows_per_second": round(summary.rows_per_second, 1),
            "parts": summary.parts,
            "parts_before": summary.parts_before,
            "rows_before": summary.rows_before,
            "parts_others": summary.parts_others,
            "errors": summary.errors,
        }
    )
