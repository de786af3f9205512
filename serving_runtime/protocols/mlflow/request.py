"""The body of `POST /invocations` as a request."""

import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

from model_contract.extras import missing_extra
from serving_runtime.codec.delimited import read_csv, read_csv_as_pandas
from serving_runtime.codec.media_type import JSON_RANGES, MediaType, media_type, prefers, weight
from serving_runtime.codec.parquet_body import read_parquet
from serving_runtime.codec.strict_json import read_object
from serving_runtime.errors import MalformedRequestError, NotAcceptableError, UnsupportedMediaTypeError
from serving_runtime.input.columns import frame_of_split
from serving_runtime.input.request import JsonInput, PassThroughInput, Request, TypedFrame
from serving_runtime.input.table import Table, from_records, from_split, has_odd_names
from serving_runtime.options import Coerce
from serving_runtime.protocols import lazy
from serving_runtime.signature import Signature

ARROW: Final = find_spec("pyarrow") is not None  # of the extra `tables`
LEAST_CSV: Final = 4096  # bytes, from which on Arrow is faster than cells
FORMATS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
PARAMS: Final = "params"
EVENTS: Final = "text/event-stream"
STREAM: Final = "stream"  # true asks for an answer in pieces, as in MLflow's server of agents
# A body with one of these keys, and none of FORMATS, is as a whole the input of a chat model.
CHAT_KEYS: Final = ("messages", "prompt", "input")

_log = logging.getLogger(__name__)


def read_request(body: bytes, content_type: str | None, signature: Signature, coerce: Coerce = Coerce.SAFE) -> Request:
    """Raises ServingError."""
    match media_type(content_type):
        case MediaType.CSV:
            return Request(input=_csv(body, signature, coerce))
        case MediaType.PARQUET:
            by_columns = ARROW and _takes_columns(signature, coerce)
            return Request(input=lazy.parquet_table(body, signature) if by_columns else read_parquet(body))
        case MediaType.ARROW:
            if not ARROW:
                raise UnsupportedMediaTypeError(f"this server cannot read Arrow: {missing_extra('pyarrow', 'tables')}")
            by_columns = _takes_columns(signature, coerce)
            return Request(input=lazy.arrow_table(body, signature) if by_columns else lazy.arrow_frame(body))
        case MediaType.JSON:
            return from_document(read_object(body), signature)


@lru_cache(64)  # clients send few different ones
def answers_in_arrow(accept: bytes) -> bool:
    """Return True if the header Accept prefers Arrow to JSON, and this server can write it.

    Raises NotAcceptableError if it cannot, and the header does not accept JSON.
    """
    preferred = prefers(accept, MediaType.ARROW)
    if preferred and not ARROW and not weight(accept, *JSON_RANGES):
        raise NotAcceptableError(f"this server cannot answer in Arrow: {missing_extra('pyarrow', 'tables')}")
    return preferred and ARROW


@lru_cache(64)
def answers_in_pieces(accept: bytes) -> bool:
    """Return True if the header Accept prefers server-sent events to JSON."""
    return prefers(accept, EVENTS)


def _takes_columns(signature: Signature, coerce: Coerce) -> bool:
    """Return True if whole columns can be turned into the signature's types, and not by MLflow's casts."""
    return bool(signature.columns) and not signature.typed_in_code and coerce is Coerce.SAFE


def _csv(body: bytes, signature: Signature, coerce: Coerce) -> Table | TypedFrame:
    """Read whole columns if that is faster than cells, and if Arrow reads them as they are."""
    if coerce is Coerce.MLFLOW:
        return read_csv_as_pandas(body, signature)
    by_columns = ARROW and len(body) >= LEAST_CSV and _takes_columns(signature, coerce)
    return (lazy.csv_table(body, signature) if by_columns else None) or read_csv(body, signature)


def from_document(document: Mapping[str, Any], signature: Signature, *, params_path: str = PARAMS) -> Request:
    """Return the request of a JSON object of the protocol. Raises MalformedRequestError, InvalidInputError."""
    formats = [key for key in FORMATS if key in document]
    if not formats and any(key in document for key in CHAT_KEYS):
        return _chat(document, signature)
    if len(formats) != 1:
        found = f"it has {' and '.join(formats)}" if formats else "it has none of them"
        raise MalformedRequestError(f"the body must have exactly one of the keys {', '.join(FORMATS)}; {found}")
    if unknown := sorted(document.keys() - {*formats, PARAMS, STREAM}):
        _log.info("ignored keys that the protocol does not have", extra={"fields": {"keys": unknown[:10]}})
    source = _input(formats[0], document[formats[0]], signature)
    params = _params(document.get(PARAMS), params_path)
    return Request(input=source, params=params, params_path=params_path, stream=document.get(STREAM) is True)


def _input(key: str, value: Any, signature: Signature) -> Any:
    match key:
        case "dataframe_split" if signature.says_nothing and has_odd_names(value):
            return TypedFrame(frame=frame_of_split(value, key))
        case "dataframe_split":
            return from_split(value, key)
        case "dataframe_records":
            return from_records(value, key)
        case _:
            return JsonInput(value=value, path=key, by_row=key == "instances")


def _chat(document: Mapping[str, Any], signature: Signature) -> Request:
    """Return the request of a chat: keys that are parameters of the signature are parameters, all others the input."""
    names = {param.name for param in signature.params or ()}
    params = {key: value for key, value in document.items() if key in names}
    whole = PassThroughInput(value={key: value for key, value in document.items() if key not in names})
    return Request(input=whole, params=params, params_path="", wrapped=False, stream=document.get(STREAM) is True)


def _params(value: Any, path: str) -> dict[str, Any] | None:
    if not isinstance(value, dict | None):
        raise MalformedRequestError(f"{path} must be an object")
    return value
