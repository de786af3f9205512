"""Records of predictions: one JSON line for a request, or Domino's form, one line for each row."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serving_runtime.codec.encode import encode
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform_plan import Matrix
from serving_runtime.observability.capture import CaptureCounts, CapturedPrediction

_log = logging.getLogger(__name__)


class LineWriter:
    """Appends lines to a file, those of several requests in one write: all workers append to it."""

    def __init__(
        self, path: Path, lines: Callable[[CapturedPrediction], Iterable[bytes]], counts: CaptureCounts
    ) -> None:
        self._file = path.open("ab", buffering=0)
        self._lines = lines
        self._counts = counts

    def write(self, records: Sequence[CapturedPrediction]) -> None:
        texts = [text for record in records if (text := self._text(record)) is not None]
        self._counts.capture_failed(len(records) - len(texts))
        if not texts:
            return
        try:
            self._file.write(b"".join(texts))
        except OSError:
            self._counts.capture_failed(len(texts))
            raise
        self._counts.capture_written(len(texts))

    def close(self) -> None:
        self._file.close()

    def _text(self, record: CapturedPrediction) -> bytes | None:
        try:
            return b"".join(self._lines(record))
        except Exception:  # noqa: BLE001  whatever a model takes or returns, the others are recorded
            _log.exception("a prediction could not be recorded", extra={"fields": {"request_id": record.request_id}})
            return None


def jsonl_records(captured: CapturedPrediction, redacted: frozenset[str]) -> Iterator[bytes]:
    """Return one record. Its `request` is a body for `POST /invocations` that predicts the same, redacted to null."""
    yield _line(
        {
            "time": _time(captured).isoformat(),
            "request_id": captured.request_id,
            "protocol": captured.protocol,
            "request": request_body(captured.data, captured.params, redacted),
            "predictions": without(captured.value, redacted),
        }
    )


def domino_records(captured: CapturedPrediction, redacted: frozenset[str], instance: str | None) -> Iterator[bytes]:
    """Return the records that `domino_data_capture` writes; an input that is no table is one record."""
    rows = _table(captured.data)
    features = [{}] if rows is None else [dict(zip(_distinct(rows), row, strict=True)) for row in _rows(rows)]
    predictions = list(_predictions(captured.value, len(features)))
    moment = _time(captured).isoformat()
    for number, (row, prediction) in enumerate(zip(features, predictions, strict=True)):
        yield _line(
            {
                "predictions": without(prediction, redacted),
                "features": without(row, redacted),
                "metadata": None,
                "timestamp": moment,
                "__domino_timestamp": moment,
                "event_id": captured.request_id if len(features) == 1 else f"{captured.request_id}-{number}",
                "prediction_probability": None,
                "sample_weight": None,
                "instance_id": instance,
            }
        )


def _line(document: Mapping[str, Any]) -> bytes:
    return encode(document, wrapped=False) + b"\n"


def _time(captured: CapturedPrediction) -> datetime:
    return datetime.fromtimestamp(captured.at, UTC)


def _table(data: Any) -> pd.DataFrame | None:
    match data:
        case Matrix() | Blocks():
            return data.frame
        case pd.DataFrame():
            return data
        case np.ndarray() if data.ndim == 2:  # noqa: PLR2004  rows and columns
            return pd.DataFrame(data)
        case _:
            return None


def _rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return the rows, with a value for each column: of two columns with one name, a dict would hold one."""
    columns = [frame.iloc[:, position].tolist() for position in range(frame.shape[1])]
    return list(zip(*columns, strict=True)) if columns else [()] * len(frame)


def _distinct(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns, numbered as pandas does if one comes twice."""
    counts: Counter[str] = Counter()
    names = []
    for name in map(str, frame.columns):
        names.append(f"{name}.{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return names


def request_body(data: Any, params: Mapping[str, Any] | None, redacted: frozenset[str]) -> dict[str, Any]:
    """Return a body for `POST /invocations` with this input."""
    more = {"params": dict(params)} if params else {}
    frame = _table(data) if not isinstance(data, np.ndarray) else None
    if frame is not None:
        cells = [
            [None if str(name) in redacted else value for name, value in zip(frame.columns, row, strict=True)]
            for row in _rows(frame)
        ]
        return {"dataframe_split": {"columns": list(frame.columns), "data": cells}, **more}
    if isinstance(data, dict) and not any(isinstance(value, np.ndarray) for value in data.values()):
        chat: dict[str, Any] = without({**data, **(params or {})}, redacted)
        return chat
    return {"inputs": without(data, redacted), **more}


def _predictions(value: Any, rows: int) -> Iterator[Any]:
    """Return one object for each row, by the names that the prediction has, if it has any."""
    if isinstance(value, pd.DataFrame) and len(value) == rows:
        yield from value.to_dict(orient="records")
    elif isinstance(value, np.ndarray | pd.Series | list) and len(value) == rows:
        for item in value:
            several = isinstance(item, np.ndarray | list)
            yield (
                {f"prediction_{position}": one for position, one in enumerate(item)}
                if several
                else {"prediction": item}
            )
    else:
        yield from ({"prediction": value} for _ in range(rows))


def without(value: Any, redacted: frozenset[str]) -> Any:
    """Return the value with null in place of each member that has one of these names, at any depth."""
    match value:
        case dict():
            return {name: None if str(name) in redacted else without(item, redacted) for name, item in value.items()}
        case pd.DataFrame():
            return without(value.to_dict(orient="records"), redacted)
        case list():
            return [without(item, redacted) for item in value]
        case _:
            return value
