"""The tensors of a request as the columns or tensors of the model's signature."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from serving_runtime.codec.strict_json import read_value
from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.forms import Given, Request, Shaped
from serving_runtime.input.table import Key, Table
from serving_runtime.protocols.open_inference.datatypes import BASE64, BYTES, FRAME, JSON, TEXT, wire_names
from serving_runtime.protocols.open_inference.heads import Head, parameters, read_heads
from serving_runtime.signature import Array, Scalar, Signature, Type

# Parameters of the protocol and of its clients, which are none of the model's unless its signature has them.
RESERVED: Final = frozenset(
    (
        "content_type",
        "headers",
        "binary_data_output",
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
    )
)
INPUTS: Final = "inputs"


def read_tensors(document: Mapping[str, Any], tail: memoryview | None, signature: Signature) -> Request:
    """Raises MalformedRequestError, InvalidInputError."""
    given = parameters(document, "")
    own = {param.name for param in signature.params or ()}
    params = {name: value for name, value in given.items() if name in own or name not in RESERVED}
    heads = read_heads(document, tail, signature)
    return Request(
        input=_input(heads, signature, given.get("content_type")), params=params or None, params_path="parameters"
    )


def _input(heads: Sequence[Head], signature: Signature, content_type: Any) -> Table | Given:
    if signature.typed_in_code:
        return _typed_in_code(heads, signature)
    if signature.columns:
        return _matrix(heads[0], signature) if _is_matrix(heads, signature) else _columns(heads, signature)
    if content_type == FRAME and not signature.tensors:
        return _columns(heads, signature)
    if len(heads) == 1 and len(signature.tensors) <= 1:
        return Given(value=_shaped(heads[0]), path=f"{heads[0].path}.data")
    if signature.tensors and not signature.named:
        raise InvalidInputError([Fault(path=INPUTS, problem=f"{len(heads)} tensors, where the model takes one")])
    places = {head.name: f"{head.path}.data" for head in heads}
    return Given(value={head.name: _shaped(head) for head in heads}, path=INPUTS, places=places)


def _typed_in_code(heads: Sequence[Head], signature: Signature) -> Given:
    """The values of the only tensor, as a list: the model's own code reads them."""
    if len(heads) > 1:
        raise InvalidInputError(
            [Fault(path=INPUTS, problem=f"{len(heads)} tensors, where the model's code takes one list")]
        )
    kind = signature.columns[0].type if signature.columns else Scalar(name="string")
    cells = _cells(heads[0], kind)
    return Given(value=cells if isinstance(cells, list) else cells.tolist(), path=f"{heads[0].path}.data")


def _shaped(head: Head) -> Shaped:
    values = _texts(head) if head.datatype == BYTES else head.values
    return Shaped(shape=head.shape, values=values)


def _is_matrix(heads: Sequence[Head], signature: Signature) -> bool:
    """One tensor of rows whose values are the columns by their position, as KServe's clients of tabular
    models send it.
    """
    columns = signature.columns
    return (
        len(heads) == 1
        and len(heads[0].shape) == 2  # noqa: PLR2004  rows and columns
        and heads[0].shape[1] == len(columns)
        and heads[0].name not in {str(column.name) for column in columns}
    )


def _matrix(head: Head, signature: Signature) -> Table:
    rows, width = head.shape
    values = _texts(head) if head.datatype == BYTES else head.values
    keys: list[Key] = [
        position if column.name is None else column.name for position, column in enumerate(signature.columns)
    ]
    positions = {key: position for position, key in enumerate(keys)}
    return Table(
        columns={key: values[position::width] for key, position in positions.items()},
        rows=rows,
        path=INPUTS,
        place=lambda key, row: head.place(row * width + positions[key]),
    )


def _columns(heads: Sequence[Head], signature: Signature) -> Table:
    columns = signature.columns if signature.named else ()
    own = dict(zip(wire_names(columns, "input"), columns, strict=True))
    kinds: Mapping[str, Type] = {wire: column.type for wire, column in own.items()}
    if not signature.named:
        kinds = {head.name: column.type for head, column in zip(heads, signature.columns, strict=False)}
    wrong = [head for head in heads if not _is_column(head, kinds.get(head.name))]
    if wrong:
        problem = "a column has a shape of one length, or of one and 1"
        raise InvalidInputError([Fault(path=f"{head.path}.shape", problem=problem) for head in wrong[:MOST_FAULTS]])
    lengths = {head.name: head.shape[0] for head in heads}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInputError(
            [Fault(path=INPUTS, problem=f"the columns must have the same number of values: {told}")]
        )
    by_name: dict[Key, Head] = {own[head.name].name if head.name in own else head.name: head for head in heads}
    return Table(
        columns={key: _cells(head, kinds.get(head.name)) for key, head in by_name.items()},
        rows=heads[0].shape[0],
        path=INPUTS,
        place=lambda key, row: by_name[key].place(row),
    )


def _is_column(head: Head, kind: Type | None) -> bool:
    is_list = isinstance(kind, Array) and head.datatype != BYTES
    return len(head.shape) == 1 or (len(head.shape) > 1 and (is_list or head.shape[1:] == (1,)))


def _cells(head: Head, kind: Type | None) -> Any:
    """One value for each row, as JSON has it, or an array of them."""
    if head.datatype != BYTES:
        return _lists(head) if isinstance(kind, Array) and len(head.shape) > 1 else head.values
    if kind == Scalar(name="binary") and head.content_type != BASE64:
        return list(head.values)
    texts = _texts(head)
    is_json = head.content_type == JSON or (
        head.content_type != TEXT and kind is not None and not isinstance(kind, Scalar)
    )
    return _values(texts, head) if is_json else texts


def _lists(head: Head) -> list[Any]:
    """Each row as nested lists."""
    nested: list[Any] = list(head.values) if isinstance(head.values, list) else head.values.tolist()
    for length in reversed(head.shape[1:]):
        nested = [nested[at * length : (at + 1) * length] for at in range(len(nested) // length if length else 0)]
    return nested


def _texts(head: Head) -> list[Any]:
    """Raises InvalidInputError where bytes from behind the JSON are no text."""
    texts, faults = [], []
    for index, value in enumerate(head.values):
        try:
            texts.append(value.decode() if isinstance(value, bytes) else value)
        except UnicodeDecodeError:
            faults.append(Fault.mismatch(head.place(index), got="bytes that are no UTF-8", expected="a string"))
    if faults:
        raise InvalidInputError(faults)
    return texts


def _values(texts: Sequence[Any], head: Head) -> list[Any]:
    values, faults = [], []
    for index, text in enumerate(texts):
        try:
            values.append(read_value(text.encode()) if isinstance(text, str) else text)
        except MalformedRequestError as error:
            faults.append(Fault(path=head.place(index), problem=f"a string that should hold JSON: {error}"))
    if faults:
        raise InvalidInputError(faults)
    return values
