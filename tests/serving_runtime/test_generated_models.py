"""Generated models, signatures and requests: MLflow's own scoring server and the runtime give the model the same, or
the runtime refuses what MLflow would change.

`MODEL_API_TEST_EXAMPLES=20000 pytest tests/serving_runtime/test_generated_models.py` looks longer.
"""

import base64
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_runtime.errors import ServingError
from serving_runtime.model import load
from testbed.runtime_core import answer

EXAMPLES: Final = int(os.environ.get("MODEL_API_TEST_EXAMPLES", "60"))
JSON: Final = "application/json"
NAMES: Final = ("a", "b c", "0", "x.y")
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A signature as MLmodel has it, a body, and the values that were sent: for each column or tensor by its place."""

    inputs: list[Document]
    params: list[Document] | None
    body: Document
    sent: Mapping[int, Any]  # cells of a column, or a tensor's nested lists
    rows: int | None = None  # None for tensors


# Values

integers = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)])
longs = integers | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.5, 1e300, 5e-324])
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)
texts = st.text("ab\u00e9\u2603 ,\"'\n", max_size=4) | st.sampled_from(["", "NaN", "null", "1", "true", "None"])
times = st.sampled_from(["2024-01-31", "2024-01-31T12:00:00", "1999-12-31T23:59:59.123456", "2024-01-31 12:00:00"])
odd = st.sampled_from([None, True, 1, 2**40, 2**70, 1.5, 1e300, "x", "", "7", "2024-01-31", [], [1], {}, {"k": 1}])
GOOD: Final = {
    "boolean": st.booleans(),
    "integer": integers,
    "long": longs,
    "float": singles,
    "double": doubles,
    "string": texts,
    "binary": st.binary(max_size=4).map(lambda data: base64.b64encode(data).decode()),
    "datetime": times,
}
anything = st.recursive(
    st.none() | st.booleans() | longs | doubles | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("kl"), inner, max_size=2),
    max_leaves=4,
)


def values(kind: Document) -> st.SearchStrategy[Any]:
    """Return the values that fit a type."""
    match kind["type"]:
        case "array":
            return st.lists(values(kind["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.sampled_from("kl"), values(kind["values"]), max_size=2)
        case "object":
            members = {name: values(member) for name, member in kind["properties"].items()}
            required = {name: member for name, member in members.items() if kind["properties"][name]["required"]}
            optional = {name: member for name, member in members.items() if name not in required}
            return st.fixed_dictionaries(required, optional=optional)
        case "any":
            return anything
        case name:
            return GOOD[name]


def cells(kind: Document, *, spoiled: bool) -> st.SearchStrategy[Any]:
    found = values(kind)
    if not kind.get("required", True):
        found = found | st.none()
    return found | odd if spoiled else found


# Signatures

scalars = st.sampled_from(sorted(GOOD)).map(lambda name: {"type": name})


def objects(inner: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    described = st.builds(lambda kind, required: {**kind, "required": required}, inner, st.booleans())
    properties = st.dictionaries(st.sampled_from("pq"), described, min_size=1, max_size=2)
    return properties.map(lambda found: {"type": "object", "properties": found})


types = st.recursive(
    scalars,
    lambda inner: (
        inner.map(lambda items: {"type": "array", "items": items})
        | inner.map(lambda items: {"type": "map", "values": items})
        | objects(inner)
    ),
    max_leaves=3,
) | st.just({"type": "any"})
DTYPES: Final = {
    "bool": GOOD["boolean"],
    "int8": st.integers(-128, 127),
    "int32": integers,
    "int64": longs,
    "uint8": st.integers(0, 255),
    "float32": singles,
    "float64": doubles,
    "str": texts,
}
PARAMS: Final = {"boolean": True, "integer": 1, "long": 2, "float": 0.5, "double": 1.5, "string": "s"}


def param_values(kind: str) -> st.SearchStrategy[Any]:
    """Return good values, and others but numbers out of the type's range, which MLflow takes and the runtime refuses.

    A parameter of type float is one of Python's.
    """
    return GOOD["double" if kind == "float" else kind] | st.sampled_from([None, True, 1, 1.5, "x", "7", [], [1], {}])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    inputs, body, sent, rows = draw(st.one_of(tables(), tables(), tables(), tensors()))
    params = None
    if draw(st.booleans()):
        kinds = draw(st.dictionaries(st.sampled_from("tu"), st.sampled_from(sorted(PARAMS)), min_size=1, max_size=2))
        params = [{"name": name, "type": kind, "default": PARAMS[kind], "shape": None} for name, kind in kinds.items()]
        given_params = {name: draw(param_values(kind)) for name, kind in kinds.items() if draw(st.booleans())}
        if given_params:
            body = {**body, "params": given_params}
    return Case(inputs=inputs, params=params, body=body, sent=sent, rows=rows)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Document], Document, Mapping[int, Any], int]:
    named = draw(st.sampled_from([True, True, False]))
    kinds = draw(st.lists(types, min_size=1, max_size=3))
    columns = []
    for position, kind in enumerate(kinds):
        required = not named or (kind["type"] != "any" and draw(st.booleans()))
        columns.append({**kind, "required": required} | ({"name": NAMES[position]} if named else {}))
    spoiled = draw(st.booleans())
    count = draw(st.integers(1, 3))
    sent = {
        position: [draw(cells(column, spoiled=spoiled)) for _ in range(count)]
        for position, column in enumerate(columns)
    }
    left_out = {
        position
        for position, column in enumerate(columns)
        if named and (not column["required"] or spoiled) and draw(st.sampled_from([True, False, False, False]))
    }
    sent = {position: column for position, column in sent.items() if position not in left_out}
    return columns, draw(bodies(columns, sent, count, named=named)), sent, count


@st.composite
def bodies(draw: st.DrawFn, columns: Any, sent: Any, count: int, *, named: bool) -> Document:
    order = draw(st.permutations(sorted(sent))) if named else sorted(sent)
    rows = [[sent[position][row] for position in order] for row in range(count)]
    if not named:
        form = draw(st.sampled_from(["split", "inputs", "instances"]))
        if form == "split":
            return {"dataframe_split": {"data": rows}}
        bare = len(columns) == 1 and draw(st.booleans())
        return {form: [row[0] for row in rows] if bare else rows}
    names = [columns[position]["name"] for position in order]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    form = draw(st.sampled_from(["split", "dataframe_records", "inputs", "instances", "columns", "row"]))
    match form:
        case "split":
            index = {"index": [f"r{row}" for row in range(count)]} if draw(st.booleans()) else {}
            return {"dataframe_split": {"columns": names, "data": rows, **index}}
        case "columns":
            return {"inputs": {columns[position]["name"]: sent[position] for position in order}}
        case "row" if count == 1:
            return {"inputs": records[0]}
        case "row":
            return {"inputs": records}
        case _:
            return {form: records}


@st.composite
def tensors(draw: st.DrawFn) -> tuple[list[Document], Document, Mapping[int, Any], None]:
    named = draw(st.booleans())
    specs, sent = [], {}
    length = draw(st.integers(1, 3))
    spoiled = draw(st.booleans())
    for position in range(draw(st.integers(1, 2)) if named else 1):
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        tail = draw(st.lists(st.sampled_from([-1, 1, 2]), max_size=2))
        spec = {"dtype": dtype, "shape": [-1, *tail]}
        specs.append({"type": "tensor", "tensor-spec": spec} | ({"name": NAMES[position]} if named else {}))
        cell = DTYPES[dtype] | odd if spoiled else DTYPES[dtype]
        sent[position] = draw(nests([length, *(2 if size == -1 else size for size in tail)], cell))
    if not named:
        return specs, {draw(st.sampled_from(["inputs", "instances"])): sent[0]}, sent, None
    by_name = {spec["name"]: sent[position] for position, spec in enumerate(specs)}
    if draw(st.booleans()):
        return specs, {"inputs": by_name}, sent, None
    return (
        specs,
        {"instances": [{name: item[row] for name, item in by_name.items()} for row in range(length)]},
        sent,
        None,
    )


def nests(shape: list[int], cell: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if not shape:
        return cell
    return st.lists(nests(shape[1:], cell), min_size=shape[0], max_size=shape[0])


# What the model was told

SCALAR: Final = re.compile(r"(\w+) (.*)", re.DOTALL)


def plain(told: Any) -> Any:
    """Return a value that the model described, without the difference between Python's types and numpy's."""
    if isinstance(told, list):
        return [plain(item) for item in told]
    if isinstance(told, dict) and "array" in told:
        found = [plain(item) for item in told["values"]]
        if told["array"].startswith("datetime64"):  # whose values are whole numbers
            found = [pd.Timestamp(item, unit="ns") for item in found]
        array = np.empty(len(found), dtype=object)
        array[:] = found
        return array.reshape(told["shape"]).tolist()
    if isinstance(told, dict):
        return {key: plain(item) for key, item in told.items()}
    found = SCALAR.fullmatch(told)
    assert found
    kind, text = found.groups()
    if kind in {"NoneType", "NaTType", "NAType"} or text in {"nan", "np.float64(nan)", "np.float32(nan)"}:
        return None
    if kind.startswith("datetime64"):
        return pd.Timestamp(eval(text, {"np": np}))  # noqa: S307  a description of our own
    return eval(text, {"np": np, "Timestamp": pd.Timestamp, "datetime": __import__("datetime"), "inf": math.inf})  # noqa: S307


def columns_of(told: Any) -> dict[str, tuple[str, Any]]:
    return {name: (dtype, plain(cells)) for name, dtype, cells in told["input"]["frame"]}


def is_kept(sent: Any, got: Any, kind: Document) -> bool:  # noqa: C901  a case for each type
    """Return True if the model got the value that was sent."""
    if sent is None:
        return got is None
    match kind["type"]:
        case "array":
            return (
                isinstance(sent, list)
                and isinstance(got, list)
                and len(sent) == len(got)
                and all(is_kept(one, other, kind["items"]) for one, other in zip(sent, got, strict=True))
            )
        case "map" | "object":
            if not isinstance(sent, dict) or not isinstance(got, dict) or sent.keys() != got.keys():
                return False
            inner = kind.get("properties", {})
            return all(
                (name in inner or kind["type"] == "map")
                and is_kept(sent[name], got[name], inner.get(name) or kind["values"])
                for name in sent
            )
        case "any":
            return same(sent, got)
        case "binary":
            return isinstance(sent, str) and isinstance(got, bytes) and base64.b64encode(got).decode() == sent
        case "datetime":
            return isinstance(sent, str) and isinstance(got, pd.Timestamp) and got == pd.Timestamp(sent)
        case "float":
            return (
                type(sent) in {int, float} and type(got) is not bool and math.isfinite(got) and got == np.float32(sent)
            )
        case "double" | "long" | "integer":
            return type(sent) in {int, float} and isinstance(got, int | float | np.number) and got == sent
        case "boolean":
            return type(sent) is bool and isinstance(got, bool | np.bool_) and got == sent
        case _:
            return type(sent) is str and got == sent


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list) or isinstance(other, list):
        return (
            isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
        )
    if isinstance(one, dict) or isinstance(other, dict):
        return (
            isinstance(one, dict)
            and isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[key], other[key]) for key in one)
        )
    return bool(one == other) and isinstance(one, bool | np.bool_) == isinstance(other, bool | np.bool_)


def keeps(case: Case, told: Any) -> bool:
    """Return True if everything that was sent has reached the model unchanged."""
    if case.rows is None:
        return all(_keeps_tensor(case, position, told["input"]) for position in case.sent)
    if "frame" not in told["input"]:
        return False
    found = columns_of(told)
    for position, sent in case.sent.items():
        column = case.inputs[position]
        name = column.get("name", str(position))
        if name not in found:
            if any(cell is not None for cell in sent):
                return False
            continue
        got = found[name][1]
        if len(got) != len(sent) or not all(is_kept(*pair, column) for pair in zip(sent, got, strict=True)):
            return False
    return True


TENSOR_KINDS: Final = {"b": "boolean", "i": "long", "u": "long", "f": "double", "U": "string"}


def _keeps_tensor(case: Case, position: int, told: Any) -> bool:
    spec = case.inputs[position]
    told = told.get(spec["name"]) if "name" in spec else told
    if not isinstance(told, dict) or "array" not in told:
        return False
    dtype = np.dtype(spec["tensor-spec"]["dtype"])
    kind = "float" if dtype == np.float32 else TENSOR_KINDS[dtype.kind]
    shape, flat = [], [case.sent[position]]
    while flat and all(isinstance(item, list) for item in flat):
        if len({len(item) for item in flat}) > 1:
            return False
        shape.append(len(flat[0]))
        flat = [part for item in flat for part in item]
    got = [plain(value) for value in told["values"]]
    return (
        list(told["shape"]) == shape
        and len(flat) == len(got)
        and all(is_kept(*pair, {"type": kind}) for pair in zip(flat, got, strict=True))
    )


# The two servers


class Servers:
    """The runtime in this process, and MLflow's scoring server in another, with a model for each signature."""

    def __init__(self, directory: Path, model: Path, mlflow: Callable[[tuple[str, str, str]], Document]) -> None:
        self._directory = directory
        self._model = model
        self._mlflow = mlflow
        self._number = 0

    def save(self, case: Case) -> str:
        self._number += 1
        name = str(self._number)
        target = Path(shutil.copytree(self._model, self._directory / name))
        document = yaml.safe_load((target / "MLmodel").read_text())
        params = json.dumps(case.params) if case.params else None
        document["signature"] = {"inputs": json.dumps(case.inputs), "outputs": None, "params": params}
        (target / "MLmodel").write_text(yaml.safe_dump(document))
        return name

    def ask_mlflow(self, name: str, body: str) -> Document:
        return self._mlflow((str(self._directory / name), JSON, body))

    def ask_ours(self, name: str, body: str) -> Document:
        try:
            return {
                "status": 200,
                "body": json.loads(answer(load(self._directory / name), body.encode(), JSON)),
            }
        except ServingError as error:
            return {"status": error.status, "body": error.message}

    def remove(self, name: str) -> None:
        shutil.rmtree(self._directory / name)


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, models: Path, ask_mlflow: Callable[[tuple[str, str, str]], Document]
) -> Servers:
    return Servers(tmp_path_factory.mktemp("generated"), models / "free", ask_mlflow)


def verdict(case: Case, ours: Document, theirs: Document) -> str | None:
    """Return what is wrong, or None."""
    if ours["status"] >= 500:
        return "the runtime failed"
    if ours["status"] == 200:
        told = ours["body"]["predictions"]
        if theirs["status"] == 200 and seen(told) == seen(theirs["body"]["predictions"]):
            return None
        if not keeps(case, told):
            return "the runtime changed a value"
        if theirs["status"] == 200 and keeps(case, theirs["body"]["predictions"]):
            return "the model gets another type than by MLflow"
        return None
    if theirs["status"] == 200 and keeps(case, theirs["body"]["predictions"]) and not is_ambiguous(case):
        return "the runtime refused what MLflow serves unchanged"
    return None


def is_ambiguous(case: Case) -> bool:
    """Return True for an object of columns in which a list may be one value or a column of many."""
    kinds = {column["type"] for column in case.inputs}
    return case.rows is not None and isinstance(case.body.get("inputs"), dict) and bool(kinds & {"any", "array"})


def seen(told: Any) -> Any:
    given_to = told["input"]
    if "frame" in given_to:
        return [columns_of(told), given_to["index"], told["params"]]
    if "array" in given_to:
        return [given_to["array"], given_to["shape"], plain(given_to), told["params"]]
    return [{name: [item["array"], item["shape"], plain(item)] for name, item in given_to.items()}, told["params"]]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_generated_model_gets_what_mlflow_gives_it_or_the_request_is_refused(case: Case, servers: Servers) -> None:
    name, body = servers.save(case), json.dumps(case.body)
    ours, theirs = servers.ask_ours(name, body), servers.ask_mlflow(name, body)
    servers.remove(name)

    assert verdict(case, ours, theirs) is None, json.dumps(
        [case.inputs, case.params, case.body, ours, theirs], indent=1
    )
