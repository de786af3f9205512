"""Writers of predictions into a file of each format, chunk by chunk."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from model_contract.extras import missing_extra
from serving_runtime.codec.encode import dumps
from serving_runtime.commands.cli_errors import InputFileError, OptionError

try:  # the extra `tables`
    import pyarrow as arrow
    from pyarrow import parquet
except ImportError:
    arrow = parquet = None

if TYPE_CHECKING:
    from serving_runtime.tables.predictions import Predictions

PREDICTION: Final = "prediction"
ROW_GROUP: Final = 16 << 20  # bytes: two million doubles
LEAST_CHUNK: Final = 4 << 10  # bytes that a chunk of a few rows takes
# Bytes of the dictionary of a column's values, which Arrow gives up if they are more: it has a million by default, and
# most of the time of writing doubles was that of their dictionary.
DICTIONARY: Final = 64 << 10


NO_ARRAYS: Final[Mapping[str, Any]] = MappingProxyType({})


class Writer(Protocol):
    """Writer of one format. A row without a prediction is None."""

    def write(self, predictions: Sequence[Any], arrays: Mapping[str, Any] = NO_ARRAYS) -> None:
        """Write rows. `arrays` has columns of Arrow, which a file with types takes in place of the rows' values."""

    def write_columns(self, predictions: "Predictions") -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None:
        """End without the rest of the file, which will be removed."""


def record(prediction: Any) -> dict[str, Any]:
    """Return the prediction of a row as columns: its own names, or `prediction`, or one for each position of a list."""
    match prediction:
        case dict():
            return prediction
        case list():
            return {f"{PREDICTION}_{position}": value for position, value in enumerate(prediction)}
        case _:
            return {PREDICTION: prediction}


class _Columns:
    """Names of the columns, which the first prediction defines; rows without one are counted until then."""

    def __init__(self) -> None:
        self.waiting = 0
        self.names: list[str] = []

    def rows(self, predictions: Sequence[Any]) -> list[dict[str, Any]]:
        records = [{} if prediction is None else record(prediction) for prediction in predictions]
        if not self.names:
            self.names = list(next(filter(None, records), {}))
        if not self.names:
            self.waiting += len(records)
            return []
        held, self.waiting = self.waiting, 0
        if odd := next((name for row in records for name in row if name not in self.names), None):
            raise OptionError(
                f"the model predicted the column {odd}, which earlier rows do not have; use --output-format jsonl"
            )
        return [{}] * held + records

    def left(self) -> list[dict[str, Any]]:
        if not self.names:
            self.names = [PREDICTION]
        return [{}] * self.waiting


class CsvWriter(Writer):
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._columns = _Columns()
        self._begun = False

    def write(self, predictions: Sequence[Any], arrays: Mapping[str, Any] = NO_ARRAYS) -> None:
        self._write(self._columns.rows(predictions))

    def write_columns(self, predictions: "Predictions") -> None:
        self.write(predictions.rows())

    def close(self) -> None:
        self._write(self._columns.left())

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not self._columns.names:
            return
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        if not self._begun:
            lines.writerow(self._columns.names)
            self._begun = True
        # One empty cell alone would be a line that readers skip.
        only = len(self._columns.names) == 1
        for row in rows:
            cells = [_cell(row.get(name)) for name in self._columns.names]
            if only and cells == [""]:
                text.write('""\n')
            else:
                lines.writerow(cells)
        self._stream.write(text.getvalue().encode())
        self._stream.flush()


class JsonLinesWriter(Writer):
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, predictions: Sequence[Any], arrays: Mapping[str, Any] = NO_ARRAYS) -> None:
        self._stream.write(b"".join(dumps(prediction) + b"\n" for prediction in predictions))
        self._stream.flush()

    def write_columns(self, predictions: "Predictions") -> None:
        self.write(predictions.rows())

    def close(self) -> None:
        self._stream.flush()


class JsonWriter(Writer):
    """Writer of one object, as `POST /invocations` answers."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._next = b'{"predictions":['

    def write(self, predictions: Sequence[Any], arrays: Mapping[str, Any] = NO_ARRAYS) -> None:
        for prediction in predictions:
            self._stream.write(self._next + dumps(prediction))
            self._next = b","

    def write_columns(self, predictions: "Predictions") -> None:
        self.write(predictions.rows())

    def close(self) -> None:
        self._stream.write((b"" if self._next == b"," else self._next) + b"]}\n")
        self._stream.flush()


class ParquetWriter(Writer):
    """Writer of row groups of several chunks: in small ones Parquet takes more room, and its readers more time."""

    def __init__(self, stream: IO[bytes]) -> None:
        if parquet is None:
            raise InputFileError(f"Parquet cannot be written: {missing_extra('pyarrow', 'tables')}")
        self._stream = stream
        self._columns = _Columns()
        self._schema: Any = None
        self._file: Any = None
        self._group: list[Any] = []
        self._size = 0

    def write(self, predictions: Sequence[Any], arrays: Mapping[str, Any] = NO_ARRAYS) -> None:
        self._write(self._columns.rows(predictions), arrays)

    def write_columns(self, predictions: "Predictions") -> None:
        if self._schema is None and not self._columns.waiting:
            self._columns.names = predictions.table.column_names
            self._schema = predictions.table.schema
        if self._schema is not None and predictions.table.schema == self._schema:
            self._add(predictions.table)
        else:
            self.write(predictions.rows())

    def close(self) -> None:
        left = self._columns.left()
        if left or self._schema is None:
            self._write(left)
        if self._group:
            self._write_group()
        self._file.close()

    def abandon(self) -> None:
        if self._file is not None:
            self._file.is_open = False  # otherwise its end would write to the stream once more

    def _write(self, rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any] = NO_ARRAYS) -> None:
        if not self._columns.names:
            return
        columns = {name: self._values(name, rows, arrays) for name in self._columns.names}
        try:
            table = arrow.table(columns, schema=self._schema)
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError) as error:
            of = "of several types" if isinstance(error, arrow.ArrowException) else "of too large numbers"
            reason = str(error).splitlines()[0]
            raise OptionError(
                f"a Parquet column cannot hold predictions {of} ({reason}); use --output-format jsonl"
            ) from None
        self._schema = table.schema
        self._add(table)

    def _values(self, name: str, rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> Any:
        """Return a column; one of Arrow as its values if the file has another type: Arrow would make 7 of "007"."""
        if (array := arrays.get(name)) is None:
            return [row.get(name) for row in rows]
        is_of_file = self._schema is None or array.type == self._schema.field(name).type
        return array if is_of_file else array.to_pylist()

    def _add(self, table: Any) -> None:
        self._group.append(table)
        self._size += max(table.nbytes, LEAST_CHUNK)
        if self._size >= ROW_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        try:
            if self._file is None:
                self._file = parquet.ParquetWriter(self._stream, self._schema, dictionary_pagesize_limit=DICTIONARY)
            self._file.write_table(arrow.concat_tables(self._group))
        except (arrow.ArrowNotImplementedError, arrow.ArrowInvalid) as error:  # of the type or a value of a kept column
            reason = str(error).partition("\n")[0]
            raise OptionError(f"Parquet cannot hold a kept column ({reason}); use --output-format jsonl") from None
        self._group, self._size = [], 0


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return dumps(value).decode()
        case _:
            return value


WRITERS: Final[Mapping[str, Callable[[IO[bytes]], Writer]]] = {
    "csv": CsvWriter,
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "parquet": ParquetWriter,
}
