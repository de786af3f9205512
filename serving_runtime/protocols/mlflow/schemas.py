"""The bodies of `POST /invocations` for one signature, and their answer."""

from typing import Final

from serving_runtime.codec.media_type import MediaType
from serving_runtime.protocols.interface import PredictionSchemas
from serving_runtime.signature import Column, Signature
from serving_runtime.signature_schemas import Schema, cells, of_params, of_tensor, row

PARQUET: Final[Schema] = {"description": "a Parquet file of the model's columns, if the server has pyarrow"}
ARROW: Final[Schema] = {"description": "a stream of Arrow of the model's columns, if the server has pyarrow"}
ARROW_ANSWER: Final[Schema] = {"description": "a stream of Arrow with a row for each prediction, if accepted"}
CHAT_COLUMNS: Final = {"messages", "prompt", "input"}


def mlflow_schemas(signature: Signature) -> PredictionSchemas:
    """Return the schemas of `POST /invocations`."""
    named = signature.columns and signature.named
    return PredictionSchemas(
        request=_request(signature),
        answer=_answer(signature),
        csv=_csv(signature) if named else None,
        tables={MediaType.PARQUET.value: PARQUET, MediaType.ARROW.value: ARROW} if named else {},
        binary_answers={MediaType.ARROW.value: ARROW_ANSWER} if named else {},
    )


def _request(signature: Signature) -> Schema:
    """Return every form of a request that the model takes, the preferred one first."""
    forms = _forms(signature)
    if signature.params:
        params = of_params(signature.params)
        forms = [
            form | {"properties": {**form["properties"], "params": params}} if "properties" in form else form
            for form in forms
        ]
    return {"anyOf": forms} if len(forms) > 1 else forms[0]


def _answer(signature: Signature) -> Schema:
    """Return the schema of an answer; that of a chat model is its own. NaN and infinity may be null."""
    if _chats(signature):
        return {"description": "what the model answers"}
    outputs = signature.outputs
    rows: Schema = {"type": "array"}
    if outputs and all(isinstance(output, Column) and output.name is not None for output in outputs):
        rows = {"type": "array", "items": {"type": "object", "properties": {str(one.name): {} for one in outputs}}}
    schema = rows if outputs else {}
    return {"type": "object", "properties": {"predictions": schema}, "required": ["predictions"]}


def _forms(signature: Signature) -> list[Schema]:
    if signature.typed_in_code:
        return [_only("inputs", {"description": "what the model's code takes"})]
    if signature.tensors:
        return _tensor_forms(signature)
    if not signature.columns:
        anything = {"type": "array", "items": {"type": "object"}}
        chat = {
            "type": "object",
            "description": "the input of a chat model: messages, prompt or input, and its further keys",
        }
        return [
            _only("inputs", {}),
            _only("dataframe_records", anything),
            _only("dataframe_split", _split({"type": "array"})),
            chat,
        ]
    if not signature.named:
        rows = {"type": "array", "items": cells(signature.columns)}
        return [_only("inputs", rows), _only("dataframe_split", _split(cells(signature.columns)))]
    forms = [
        _only("dataframe_split", _split(cells(signature.columns), [str(column.name) for column in signature.columns])),
        _only("dataframe_records", {"type": "array", "items": row(signature.columns)}),
        _only("inputs", row(signature.columns)),
    ]
    return [*forms, row(signature.columns)] if _chats(signature) else forms


def _tensor_forms(signature: Signature) -> list[Schema]:
    if not signature.named:
        return [_only("inputs", of_tensor(signature.tensors[0])), _only("instances", of_tensor(signature.tensors[0]))]
    schema = {
        "type": "object",
        "properties": {str(tensor.name): of_tensor(tensor) for tensor in signature.tensors},
        "required": [str(tensor.name) for tensor in signature.tensors],
    }
    return [_only("inputs", schema)]


def _split(line: Schema, names: list[str] | None = None) -> Schema:
    columns: Schema = {"const": names} if names else {"type": "array", "items": {"type": ["string", "integer"]}}
    return {
        "type": "object",
        "properties": {"columns": columns, "data": {"type": "array", "items": line}},
        "required": ["columns", "data"] if names else ["data"],
        "additionalProperties": False,
    }


def _only(key: str, schema: Schema) -> Schema:
    return {"type": "object", "properties": {key: schema}, "required": [key]}


def _chats(signature: Signature) -> bool:
    return any(column.name in CHAT_COLUMNS for column in signature.columns)


def _csv(signature: Signature) -> Schema:
    names = ", ".join(str(column.name) for column in signature.columns)
    return {"type": "string", "description": f"a header with {names}, then a line for each row"}
