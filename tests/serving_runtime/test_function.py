"""The function of a Domino model API, called in each way in which Domino calls it."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import serving_runtime
from model_contract.model_ref import IncompleteVariablesError
from serving_runtime import make_predict
from serving_runtime.errors import ModelLoadError, ModelNotFoundError, ServingError
from serving_runtime.function import ModelFunction

ROWS = [{"a": 0.5, "b": 1.0}, {"a": 1.5, "b": 2.0}]
COLUMNS = {"a": [0.5, 1.5], "b": [1, 2]}
FRAME = [["a", "float64", ["float 0.5", "float 1.5"]], ["b", "float64", ["float 1.0", "float 2.0"]]]
ONE_ROW = [["a", "float64", ["float 0.5"]], ["b", "float64", ["float 1.0"]]]


@pytest.fixture(scope="module")
def two_doubles(models: Path) -> ModelFunction:
    return make_predict(models / "two-doubles")


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], list[Any]]] = {
    "vars as columns": ((), {"vars": COLUMNS}, FRAME),
    "vars as records": ((), {"vars": ROWS}, FRAME),
    "vars as one row": ((), {"vars": {"a": 0.5, "b": 1}}, ONE_ROW),
    "keywords as columns": ((), COLUMNS, FRAME),
    "keywords as one row": ((), {"a": 0.5, "b": 1}, ONE_ROW),
    "one dict": ((COLUMNS,), {}, FRAME),
    "one list of dicts": ((ROWS,), {}, FRAME),
    "values by position": ((0.5, 1), {}, ONE_ROW),
    "a frame": ((pd.DataFrame(ROWS),), {}, FRAME),
    "a frame of whole numbers": ((pd.DataFrame({"a": [0.5, 1.5], "b": [1, 2]}),), {}, FRAME),
    "values of numpy": ((), {"a": np.array([0.5, 1.5]), "b": (np.int64(1), np.int32(2))}, FRAME),
    "a body of MLflow's protocol": (
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[0.5, 1], [1.5, 2]]}},),
        {},
        FRAME,
    ),
    "such a body as vars": ((), {"vars": {"dataframe_records": ROWS}}, FRAME),
    "such a body as keywords": ((), {"inputs": COLUMNS}, FRAME),
}


@pytest.mark.parametrize("shape", CALLS)
def test_predict_understands_each_shape_of_a_call(shape: str, two_doubles: ModelFunction) -> None:
    args, kwargs, expected = CALLS[shape]

    assert two_doubles(*args, **kwargs)["input"]["frame"] == expected


def test_predict_returns_types_of_json_only(models: Path) -> None:
    predicted = make_predict(models / "wine")(
        vars={"fixed acidity": [7.4, 7.8], "pH": [3.5, 3.2], "alcohol": [9.4, 9.8]}
    )

    assert [type(value) for value in predicted] == [float, float]


def test_predict_keeps_a_list_in_one_cell_if_the_column_takes_lists(models: Path) -> None:
    predict = make_predict(models / "array")

    assert predict(values=[1, 2])["input"]["frame"] == [["values", "object", [["float 1.0", "float 2.0"]]]]
    assert len(predict(values=[[1, 2], [3]])["input"]["frame"][0][2]) == 2


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"k": 7}, id="a number"),
        pytest.param({"k": np.int32(7), "scale": np.float32(0.5), "stop": np.array(["a", "b"])}, id="values of numpy"),
        pytest.param({np.str_("k"): 7.0}, id="a name of numpy"),
    ],
)
def test_params_are_parameters_if_the_model_has_some(params: dict[str, Any], models: Path) -> None:
    answered = make_predict(models / "params")(vars={"x": 1}, params=params)

    assert answered["params"]["k"] == "int 7"
    assert answered["params"]["scale"] == ("float 0.5" if "scale" in params else "float 1.0")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param((ROWS,), {}, id="beside records"),
        pytest.param((0.5, 1), {}, id="beside positions"),
        pytest.param((), {"vars": ROWS}, id="beside vars"),
    ],
)
def test_params_beside_an_input_are_ignored_by_a_model_that_has_none(
    args: tuple[Any, ...], kwargs: dict[str, Any], two_doubles: ModelFunction
) -> None:
    assert two_doubles(*args, **kwargs, params={"k": 7})["input"]["frame"][0][0] == "a"


CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
CHAT_SEEN = {"messages": [{"role": "str 'user'", "content": "str 'hi'"}], "temperature": "float 0.5"}


@pytest.mark.parametrize(("args", "kwargs"), [((CHAT,), {}), ((), CHAT), ((), {"vars": CHAT})], ids=str)
def test_a_chat_comes_whole_to_a_model_without_a_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], models: Path
) -> None:
    assert make_predict(models / "free")(*args, **kwargs)["input"] == CHAT_SEEN


def test_params_is_a_column_if_the_model_has_no_parameters(models: Path) -> None:
    answered = make_predict(models / "free")(params=[1, 2])

    assert answered["input"]["params"]["values"] == ["int 1", "int 2"]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        pytest.param((), {}, "parameters: there is no input", id="nothing"),
        pytest.param((1, 2, 3), {}, "parameters: 3 values, where the model takes a, b", id="too many"),
        pytest.param((1,), {"b": 2}, "send all of them by name", id="by position and by name"),
        pytest.param((), {"a": 1}, 'data: the column "b" is missing, and the model requires it', id="too few"),
        pytest.param((), {"vars": {"a": "x", "b": 1}}, "vars.a: a string, where the model takes a number", id="a text"),
        pytest.param((pd.DataFrame({"a": ["x"], "b": [1.0]}),), {}, "Can not safely convert", id="a frame of texts"),
    ],
)
def test_predict_says_what_is_wrong_with_a_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str, two_doubles: ModelFunction
) -> None:
    with pytest.raises(ServingError) as caught:
        two_doubles(*args, **kwargs)

    assert message in str(caught.value)


def test_predict_loads_the_model_once_for_many_threads(models: Path) -> None:
    function = ModelFunction({"MLFLOW_ARTIFACTS_PATH": str(models / "two-doubles")})
    barrier, seen = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        seen.append((function.model(), function(a=0.5, b=1)["input"]["frame"]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(model) for model, _ in seen}) == 1
    assert [frame for _, frame in seen] == [ONE_ROW] * 8


def test_make_predict_says_at_once_that_there_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no MLmodel in"):
        make_predict(tmp_path)


def test_make_predict_says_at_once_that_a_model_does_not_load(models: Path) -> None:
    with pytest.raises(ModelLoadError, match="RuntimeError: the weights are not there"):
        make_predict(models / "broken")


def test_predict_without_variables_says_which_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_ARTIFACTS_PATH", "MLFLOW_MODEL_OWNER", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    predict = make_predict()

    with pytest.raises(IncompleteVariablesError, match="MLFLOW_MODEL_OWNER, MLFLOW_RUN_ID are not set"):
        predict(x=1)


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'forecast'"):
        serving_runtime.forecast  # noqa: B018  the attribute is what is tested


def run(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_importing_the_package_imports_nothing_else() -> None:
    heavy = run(
        "import sys, serving_runtime; print([m for m in ('mlflow', 'numpy', 'pandas', 'orjson', 'yaml') if m in"
        " sys.modules])"
    )

    assert heavy.strip() == "[]"


def test_one_line_of_a_domino_model_predicts(models: Path) -> None:
    code = "from serving_runtime import predict; print(predict(vars={'x': 2})['input']['frame'])"

    assert run(code, MLFLOW_ARTIFACTS_PATH=str(models / "one-long")).strip() == "[['x', 'int64', ['int 2']]]"


MISTAKES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], str]] = {
    "a text for a number": (
        "two-doubles",
        (),
        {"a": "x", "b": 1},
        "400 INVALID_PARAMETER_VALUE: data.a: a string, where",
    ),
    "a missing column": (
        "two-doubles",
        (),
        {"vars": {"a": 1}},
        '400 INVALID_PARAMETER_VALUE: vars: the column "b" is missing',
    ),
    "nothing": ("two-doubles", (), {}, "400 INVALID_PARAMETER_VALUE: parameters: there is no input"),
    "a body that is none": ("two-doubles", ({"dataframe_split": 1},), {}, "400 BAD_REQUEST: "),
    "a type hint": ("hinted", (["a"],), {}, "400 INVALID_PARAMETER_VALUE: inputs[0]: a string, where"),
    "refused by the model": (
        "chosen",
        ('(_ for _ in ()).throw(MlflowException("no", RESOURCE_DOES_NOT_EXIST))',),
        {},
        "404 RESOURCE_DOES_",
    ),
    "a fault of the model": (
        "chosen",
        ("1/0",),
        {},
        "500 INTERNAL_ERROR: the model failed on this input (ZeroDivisionError)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_error_begins_with_the_status_that_the_server_answers(mistake: str, models: Path) -> None:
    name, args, kwargs, text = MISTAKES[mistake]

    with pytest.raises(ServingError) as caught:
        make_predict(models / name)(*args, **kwargs)

    assert str(caught.value).startswith(text)
    assert "Traceback" not in str(caught.value)
    assert caught.value.__cause__ is None  # it may hold the input
    assert caught.value.__suppress_context__


HINTED = {
    "a list": (([1, 2],), {}, [2, 3]),
    "values by position": ((1, 2), {}, [2, 3]),
    "one value": ((1,), {}, [2]),
    "vars": ((), {"vars": [1, 2]}, [2, 3]),
    "a body": ((), {"inputs": [1, 2]}, [2, 3]),
}


@pytest.mark.parametrize("shape", HINTED)
def test_predict_of_a_type_hint_takes_its_elements(shape: str, models: Path) -> None:
    args, kwargs, expected = HINTED[shape]

    assert make_predict(models / "hinted")(*args, **kwargs) == expected


def test_predict_of_a_type_hint_of_objects_takes_one_by_its_members(example_models: Path) -> None:
    assert make_predict(example_models / "people")(name="Ann", age=3) == ["Ann is 3"]
