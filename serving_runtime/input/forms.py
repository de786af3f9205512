"""What a protocol gives the core: the input of a request, in one of four forms, and its parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A JSON value whose meaning is the signature's: columns by name, records, rows, a tensor, or one value.

    `by_row`: a list of objects is one object for each row even where the model says nothing about its input. `places`
    are those of the tensors in the request, by name, where they are not members of `path`. A tensor is nested lists, or
    Shaped.
    """

    value: Any
    path: str
    by_row: bool = False
    places: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """A tensor whose values came in one sequence, an array or a list, in C order."""

    shape: tuple[int, ...]
    values: Sequence[Any] | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A DataFrame that came with its types (Parquet, or a caller in Python): MLflow's own check is the one for it."""

    frame: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A JSON value that the model's own code reads: messages of a chat, or a type hint's."""

    value: Any


@frozen_record
class Request:
    """`params` are None where the request has none; `params_path` is their place in it. `wrapped`: whether the answer
    is an object with the key `predictions`. `stream`: whether it should come in pieces.
    """

    input: Table | Given | Frame | Whole
    params: Mapping[str, Any] | None = None
    params_path: str = "params"
    wrapped: bool = True
    stream: bool = False
