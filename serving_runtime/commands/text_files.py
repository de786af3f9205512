"""Files of text: decompressed, told from files of other kinds, and decoded."""

import io
import re
from collections.abc import Iterator
from typing import IO, Final

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.compressed import decompressed

# Patterns of the first bytes of files that are neither text nor compressed, and what to do with each.
NO_TEXT: Final = {
    rb"PK\x03\x04": "a zip archive or a spreadsheet's workbook; unpack it, or save the sheet as CSV",
    rb"\xd0\xcf\x11\xe0": "a workbook of an old spreadsheet; save the sheet as CSV",
    rb"ARROW1": "a file of Arrow (Feather); give --input-format arrow",
    rb"\xff\xff\xff\xff": "a stream of Arrow; give --input-format arrow",
    rb"PAR1": "Parquet; give --input-format parquet",
    rb"\xff\xfe\0\0|\0\0\xfe\xff|[^\0]\0\0\0|\0\0\0[^\0]": "text of UTF-32; save it as UTF-8",
    rb"\xff\xfe|\xfe\xff|[^\0]\0[^\0]\0|\0[^\0]\0[^\0]": (  # some writers leave out the byte order mark
        "text of UTF-16; save it as UTF-8, with commas between the fields of a table"
    ),
    rb"ORC.{0,4}[\x00-\x08]": "ORC; write it as Parquet",  # a header of CSV may begin with these letters
    rb"\x80[\x02-\x05]": "a pickle of Python; write it as Parquet",
    rb"\x89HDF": "HDF5; write it as Parquet",
    rb"Obj\x01": "Avro; write it as Parquet",
    rb"SQLite format 3\x00": "a database of SQLite; write the table as CSV",
}
BEGINNING: Final = 16  # bytes that such a pattern needs


def text_of(stream: IO[bytes]) -> IO[bytes]:
    """Return the stream, decompressed if it is compressed. Raises InputFileError if its content is not text."""
    content = decompressed(stream, _beginning(stream))
    beginning = _beginning(content)
    if kind := next((kind for magic, kind in NO_TEXT.items() if re.match(magic, beginning, re.DOTALL)), None):
        raise InputFileError(f"the file is {kind}")
    return content


def _beginning(stream: IO[bytes]) -> bytes:
    """Return the first bytes, which stay; none of a stream that cannot go back."""
    if isinstance(stream, io.BufferedReader):
        return stream.peek(BEGINNING)[:BEGINNING]
    if not stream.seekable():
        return b""
    beginning = stream.read(BEGINNING)
    stream.seek(0)
    return beginning


def decoded_lines(content: bytes, number: int = 1) -> Iterator[str]:
    """Yield the lines, of which the first has the `number` in its file. Raises InputFileError for one in no UTF-8."""
    for place, line in enumerate(io.BytesIO(content), number):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise InputFileError(
                f"line {place} is not UTF-8, at byte {error.start + 1} of the line; save a text as UTF-8, and any other"
                " table as CSV or Parquet"
            ) from None
