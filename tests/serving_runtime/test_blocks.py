"""A model that MLflow has loaded gets from the fast path what MLflow's own check of the input would have given it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from serving_runtime.errors import ServingError
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform import conformer
from serving_runtime.input.conform_plan import Matrix
from serving_runtime.input.merging import merged
from serving_runtime.input.request import Request
from serving_runtime.input.table import Columns, Table, from_split
from serving_runtime.model import Model, load
from serving_runtime.prediction.comparison import varied
from testbed.environments import saved_models
from tests.serving_runtime.conftest import SCRIPTS

CELLS: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "double": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    "string": st.one_of(st.none(), st.text(max_size=3), st.just("\ud800")),
    "binary": st.sampled_from(["aGk=", "", None]),
    "datetime": st.sampled_from(["2024-01-31", "2024-01-31T12:00:00.000000001Z", "2024-01-31T12:00:00+02:00", None]),
}
KINDS = tuple(CELLS)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models("3.17", SCRIPTS / "save_seen_models.py", tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def model(seen: Path) -> Model:
    return load(seen / "all")


@pytest.fixture(scope="module")
def nested(seen: Path) -> Model:
    return load(seen / "nested")


def code_of(model: Model) -> Any:
    return model._pyfunc.unwrap_python_model()  # type: ignore[attr-defined]  # of MLflow's class


def request(names: list[str], rows: list[list[Any]]) -> Request:
    return Request(input=from_split({"columns": names, "data": rows}, "dataframe_split"))


def names_of(model: Model) -> list[str]:
    return [column.name for column in model.metadata.signature.columns]


ROWS = st.lists(st.tuples(*(CELLS[kind] for _ in range(3) for kind in KINDS)).map(list), min_size=0, max_size=4)


@given(rows=ROWS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_model_sees_the_frame_of_mlflows_own_check(model: Model, rows: list[list[Any]]) -> None:
    sent = request(names_of(model), rows)
    model._pyfunc.predict(conformer(model.metadata.signature)(sent).data)
    expected = code_of(model).seen

    model.predict(sent)

    pd.testing.assert_frame_equal(code_of(model).seen, expected, check_exact=True)
    assert list(map(str, code_of(model).seen.dtypes)) == list(map(str, expected.dtypes))


SCALARS = [CELLS[kind] for kind in KINDS if kind not in {"binary", "datetime"}]
PLAIN = [
    st.booleans(),
    CELLS["integer"],
    CELLS["long"],
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    # MLflow's check cuts a NUL at the end of a text in a list, as numpy's texts do; the fast path keeps it.
    st.text(max_size=3).filter(lambda text: not text.endswith("\0")),
]
NAMES = [kind for kind in KINDS if kind not in {"binary", "datetime"}]
OBJECT = st.fixed_dictionaries(dict(zip(NAMES, PLAIN, strict=True)))
OTHERS = [st.none(), st.just([]), st.just({}), st.just([None]), st.just({"long": None}), st.just(1.0), st.just("a")]


def nested_rows(*others: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    cells: list[st.SearchStrategy[Any]] = [
        *(st.lists(one, max_size=3) for one in PLAIN),
        *(st.dictionaries(st.text(max_size=2), one, max_size=2) for one in PLAIN),
        st.lists(st.lists(CELLS["integer"], max_size=2), max_size=2),
        OBJECT,
        st.lists(OBJECT, max_size=2),
        st.dictionaries(st.text(max_size=2), st.lists(PLAIN[3], max_size=2), max_size=2),
        CELLS["double"],
    ]
    return st.lists(st.tuples(*(st.one_of(cell, *others) for cell in cells)).map(list), max_size=3)


def plainly(value: Any) -> Any:
    """Return a value with the types of all that is in it."""
    match value:
        case list():
            return [plainly(item) for item in value]
        case dict():
            return {name: plainly(item) for name, item in value.items()}
        case _:
            return type(value), repr(value)


@given(rows=nested_rows() | nested_rows(*OTHERS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_model_sees_the_nested_cells_of_mlflows_own_check(nested: Model, rows: list[list[Any]]) -> None:
    sent = request(names_of(nested), rows)
    expected, found = seen_by(nested, sent, checked=True), seen_by(nested, sent, checked=False)

    assert found == expected


def seen_by(model: Model, sent: Request, *, checked: bool) -> Any:
    """Return the values and types that the model's code gets, by MLflow's own check or not, or the refusal."""
    try:
        if checked:
            model._pyfunc.predict(conformer(model.metadata.signature)(sent).data)
        else:
            model.predict(sent)
    except (ServingError, MlflowException) as error:
        return str(error)
    frame = code_of(model).seen
    return list(map(str, frame.dtypes)), {name: plainly(frame[name].tolist()) for name in frame}


def test_nested_cells_are_not_checked_again_by_mlflow(nested: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    scalars = [True, 1, 2, 1.5, 2.5, "a"]
    whole = dict(zip(NAMES, scalars, strict=True))
    row = [*([one] for one in scalars), *({"a": one} for one in scalars), [[1]], whole, [whole], {"a": [1.5]}, 1.5]
    monkeypatch.setattr("mlflow.pyfunc._enforce_schema", lambda *_: pytest.fail("MLflow has checked the input"))

    assert nested.predict(request(names_of(nested), [row, row])) == [0, 1]


def test_fast_path_is_taken_and_mlflows_check_is_not(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    row = [
        {"boolean": True, "string": "a", "binary": "aGk=", "datetime": "2024-01-31"}.get(name.split()[0], 1)
        for name in names_of(model)
    ]  # fmt: skip  one line
    monkeypatch.setattr("mlflow.pyfunc._enforce_schema", lambda *_: pytest.fail("MLflow has checked the input"))

    assert isinstance(model.plan.conform(request(names_of(model), [row])).data, Blocks)
    assert model.predict(request(names_of(model), [row, row])) == [0, 1]
    assert model.predict(Request(input=request(names_of(model), [row]).input, params={"scale": 2})) == [0]
    assert code_of(model).params == {"scale": 2.0}


@pytest.mark.parametrize("name", ["doubles", "mixed"])
def test_model_that_writes_into_its_input_leaves_ours_as_it_is(seen: Path, name: str) -> None:
    model = load(seen / name)
    rows = [[number, number if name == "doubles" else "a"] for number in (1.0, 2.0)]
    data = model.plan.conform(request(names_of(model), rows)).data
    before = data.frame.copy()

    model.predict_conformed(data, None)

    assert isinstance(data, Matrix | Blocks)
    pd.testing.assert_frame_equal(data.frame, before)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("by_row", [True, False])
def test_model_may_write_into_input_that_came_in_memory_of_a_body(seen: Path, by_row: bool, rows: int) -> None:
    model = load(seen / "doubles")
    body = np.frombuffer(np.arange(2.0 * rows).tobytes()).reshape(rows, 2)
    names = names_of(model)
    columns = Columns(names, body) if by_row else dict(zip(names, body.T, strict=True))
    table = Table(columns=columns, rows=rows, path="inputs", place=lambda name, row: f"inputs[{row}]{name}")

    model.predict(Request(input=table))

    assert isinstance(model.plan.conform(Request(input=table)).data, Matrix)
    assert body.ravel().tolist() == list(range(2 * rows))


@given(rows=ROWS, more=ROWS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_blocks_of_several_requests_are_one_table(model: Model, rows: list[list[Any]], more: list[list[Any]]) -> None:
    def data(these: list[list[Any]]) -> Any:
        return model.plan.conform(request(names_of(model), these)).data

    found = [data(rows), data(more)]
    assume(all(isinstance(one, Blocks) for one in found))

    pd.testing.assert_frame_equal(merged(found).frame, data(rows + more).frame)


def test_varied_blocks_have_other_numbers_of_the_same_types(seen: Path) -> None:
    plan = load(seen / "mixed").plan

    data = plan.conform(request(["a", "b"], [[1.0, "x"], [2.0, "y"]])).data

    assert varied(data).frame["a"].tolist() == [2.25, 3.5]
    assert list(varied(data).frame.dtypes) == list(data.frame.dtypes)
