"""The request that a protocol reads from a body: its input, in one of four classes, and its parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonInput:
    """A JSON value that the signature interprets: as columns by name, records, rows, a tensor, or one value.

    `by_row`: a list of objects has one object for each row, even if the model has no signature. `places` are the paths
    of the tensors in the request, by name, if they are not members of `path`. A tensor is a FlatTensor or nested lists.
    """

    value: Any
    path: str
    by_row: bool = False
    places: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatTensor:
    """A tensor with its values in one sequence, an array or a list, in C order."""

    shape: tuple[int, ...]
    values: Sequence[Any] | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedFrame:
    """A DataFrame that came with its types (Parquet, or a caller in Python), which MLflow itself checks."""

    frame: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThroughInput:
    """A JSON value for the model's own code, unchanged, such as messages of a chat or the value of a type hint."""

    value: Any


@frozen_record
class Request:
    """A request to the model. `params` are None if it has none; `params_path` is their place in it.

    `wrapped`: the answer is an object with the key `predictions`. `stream`: the answer should come in pieces.
    """

    input: Table | JsonInput | TypedFrame | PassThroughInput
    params: Mapping[str, Any] | None = None
    params_path: str = "params"
    wrapped: bool = True
    stream: bool = False
