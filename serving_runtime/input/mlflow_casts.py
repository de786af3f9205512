"""`--coerce mlflow`: MLflow's own casts, called as its scoring server calls them. The one module besides `pyfunc` that
imports MLflow.

MLflow's casts cut, wrap and guess without an error, and some clients rely on that. A malformed request is refused as
always, and a refusal never holds a value, although MLflow's own message would.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import Model
from mlflow.utils import proto_json_utils as casts

from serving_runtime.errors import Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.conform import Conformed, conform, rows_of
from serving_runtime.input.request import FlatTensor, JsonInput, PassThroughInput, Request, TypedFrame
from serving_runtime.input.table import Table
from serving_runtime.signature import Signature


def mlflow_conformer(directory: Path, signature: Signature) -> Callable[[Request], Conformed]:
    """Return the function that casts requests as MLflow does, to the signature of the model in `directory`.

    That function raises InvalidInputError and MalformedRequestError. Parameters stay as they are, because MLflow checks
    them when the model is called.
    """
    schema = Model.load(str(directory)).get_input_schema()  # type: ignore[no-untyped-call]  # MLflow's annotations are partial

    def conformed(request: Request) -> Conformed:
        with np.errstate(all="ignore"):  # MLflow's casts may give infinity, without a warning
            data = _cast(request.input, signature, schema)
        return Conformed(data=data, params=request.params, rows=rows_of(data))

    return conformed


def _cast(source: Table | JsonInput | TypedFrame | PassThroughInput, signature: Signature, schema: Any) -> Any:
    match source:
        case Table() if not signature.typed_in_code:
            return _table(source, schema)
        case JsonInput(value=value, by_row=by_row, path=path) if not signature.typed_in_code:
            return _json_value(_nested_lists(value), "instances" if by_row else "inputs", path, schema)
        case TypedFrame(frame=frame):
            return frame
        case _:
            return conform(source, signature)


def _table(table: Table, schema: Any) -> Any:
    try:
        if table.document is not None:
            return casts.dataframe_from_parsed_json(table.document, table.orient, schema)  # type: ignore[no-untyped-call]  # MLflow's
        frame = pd.DataFrame(dict(table.columns), index=range(table.rows) if table.index is None else list(table.index))
        return frame if schema is None else casts.cast_df_types_according_to_schema(frame, schema)  # type: ignore[no-untyped-call]  # as above
    except casts.MlflowFailedTypeConversion as error:
        # The message ends with the message of the cast, which holds the value.
        column = (
            error.message.partition("Failed to convert column ")[2]
            .rpartition(" to type '")[0]
            .partition(" to type '")[0]
        )
        raise InvalidInputError(
            [Fault(path=table.path, problem=f'MLflow cannot cast the column "{column}" to its type')]
        ) from None
    except Exception as error:
        raise MalformedRequestError(
            f"{table.path}: MLflow cannot make a frame of it ({type(error).__name__})"
        ) from error


def _json_value(value: Any, key: str, path: str, schema: Any) -> Any:
    try:
        return casts.parse_tf_serving_input({key: value}, schema)  # type: ignore[no-untyped-call]  # as above
    except Exception as error:
        raise MalformedRequestError(
            f"{path}: MLflow cannot cast it to the model's signature ({type(error).__name__})"
        ) from error


def _nested_lists(value: Any) -> Any:
    """Return tensors of other protocols as the nested lists of MLflow's protocol."""
    match value:
        case FlatTensor(shape=shape, values=values):
            return np.reshape(
                np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object), shape
            ).tolist()
        case dict() if any(isinstance(item, FlatTensor) for item in value.values()):
            return {name: _nested_lists(item) for name, item in value.items()}
        case _:
            return value
