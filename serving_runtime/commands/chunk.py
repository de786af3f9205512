"""A chunk of the rows of a file, as `predict` scores them."""

from collections.abc import Callable
from dataclasses import dataclass

from serving_runtime.commands.kept_columns import Kept
from serving_runtime.input.forms import Request


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
