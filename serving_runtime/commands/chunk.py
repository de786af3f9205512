"""A chunk of the rows of a file, as `predict` scores them."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from serving_runtime.commands.kept_columns import Kept
from serving_runtime.input.request import Request, TypedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`count` rows of a file, of any format.

    `place` returns the place of a row in the file. `request` returns the request for the rows from a first one up to
    another, which it excludes. `columns` returns the request for all rows as whole columns; it is None if they must be
    read cell by cell. `whole` is True for a body of the protocol that is sent as it is: its number of rows is known
    only after it is read against the signature.
    """

    count: int
    place: Callable[[int], str]
    request: Callable[[int, int], Request]
    whole: bool = False
    columns: Callable[[], Request] | None = None
    kept: Kept | None = None


def frame_chunk(frame: pd.DataFrame, place: Callable[[int], str], kept: Kept | None) -> Chunk:
    """Return the chunk of a frame of pandas, for a model without a signature. An index that only counts begins at 0."""

    def request(first: int, end: int) -> Request:
        rows = frame.iloc[first:end]
        counted = isinstance(rows.index, pd.RangeIndex)
        return Request(input=TypedFrame(frame=rows.reset_index(drop=True) if counted else rows))

    return Chunk(count=len(frame), place=place, request=request, kept=kept)
