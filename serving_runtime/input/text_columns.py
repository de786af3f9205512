"""Columns of texts as pandas has them, without a Python object for each text until one is asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
import pandas as pd

# The type that this version of pandas gives to texts. Without it pandas gives another one to a column of nulls only.
TEXTS: Final[Any] = pd.Series(["text"]).dtype
# From an array of Arrow to pandas' array of texts; None for a version of pandas whose texts are Python objects.
FROM_ARROW: Final[Callable[[Any], Any] | None] = getattr(TEXTS, "__from_arrow__", None)


class TextCells(Sequence[str | None]):
    """The cells of one column of texts. `array` is that of pandas, in which a missing text is NaN."""

    def __init__(self, array: Any) -> None:
        self.array = array

    @overload
    def __getitem__(self, place: int) -> str | None: ...
    @overload
    def __getitem__(self, place: slice) -> "TextCells": ...
    def __getitem__(self, place: int | slice) -> "str | TextCells | None":
        if isinstance(place, slice):
            return TextCells(self.array[place])
        text = self.array[place]
        return text if isinstance(text, str) else None

    def __iter__(self) -> Iterator[str | None]:
        return iter(_objects(self.array))

    def __len__(self) -> int:
        return len(self.array)


@dataclass(frozen=True, slots=True)
class TextColumns:
    """Columns of texts of one table, as pandas' arrays.

    numpy takes it for an array of objects with a row for each column, as texts that came as Python's are.
    """

    arrays: Sequence[Any]
    dtype = np.dtype(object)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.arrays)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "np.ndarray[Any, Any]":
        return np.stack([_objects(array) for array in self.arrays])


def _objects(array: Any) -> "np.ndarray[Any, Any]":
    """Return the texts as an array of objects, None for a missing one."""
    found: np.ndarray[Any, Any] = array.to_numpy(dtype=object, na_value=None)
    return found
