"""Loading a model, its example, and what becomes of an exception inside it."""

import asyncio
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from serving_runtime.codec.encode import encode
from serving_runtime.errors import ModelLoadError, OutputError, PredictionError, ServingError
from serving_runtime.model import Model, load
from serving_runtime.options import Loader, Nan
from serving_runtime.prediction.batches import Batches, BatchLimits
from serving_runtime.prediction.call_cost import CallCost
from serving_runtime.prediction.streaming import ModelStream
from serving_runtime.prediction.warm_up import warm_up, warm_up_for_merging
from serving_runtime.protocols.interface import Answer, Inputs
from serving_runtime.protocols.mlflow.request import read_request
from serving_runtime.pyfunc import stream
from testbed.runtime_core import answer

JSON = "application/json"
TENSOR: list[dict[str, Any]] = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Model]:
    """Load a model whose `predict` has the code that is given, with the inputs of a signature and an example."""

    def load_written(code: str, *, inputs: Any, example: Any = None) -> Model:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "written_model.py").write_text(
            "import numpy as np, pandas as pd\n"
            f"class Model:\n    def predict(self, data): {code}\ndef _load_pyfunc(path): return Model()\n"
        )
        document: dict[str, Any] = {"flavors": {"python_function": {"loader_module": "written_model", "code": "code"}}}
        if inputs:
            document["signature"] = {"inputs": json.dumps(inputs)}
        if example:
            (tmp_path / "example.json").write_text(json.dumps(example))
            document["saved_input_example_info"] = {"serving_input_path": "example.json"}
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(document))
        monkeypatch.delitem(sys.modules, "written_model", raising=False)
        return load(tmp_path)

    return load_written


def chosen(model: Model, expression: str) -> bytes:
    return answer(model, json.dumps({"inputs": [expression]}).encode(), JSON)


def test_a_model_of_mlflow_2_predicts(older_models: Path) -> None:
    model = load(older_models / "wine")
    warm_up(model)
    body = json.dumps(
        {"dataframe_split": {"columns": ["fixed acidity", "pH", "alcohol"], "data": [[7.4, 3.51, 9.4]]}}
    ).encode()

    assert model.metadata.mlflow_version.startswith("2.22")
    assert len(json.loads(answer(model, body, JSON))["predictions"]) == 1


def test_both_versions_of_mlflow_save_the_same_model(model: Callable[[str], Model], older_models: Path) -> None:
    body = b'{"inputs": {"fixed acidity": 7.4, "pH": 3.51, "alcohol": 9.4}}'

    assert answer(load(older_models / "wine"), body, JSON) == answer(model("wine"), body, JSON)


@pytest.mark.parametrize("name", ["scalars", "nested", "tensors", "params", "unnamed", "free"])
def test_a_signature_of_mlflow_2_is_read_like_one_of_mlflow_3(name: str, models: Path, older_models: Path) -> None:
    assert load(older_models / name).metadata.signature == load(models / name).metadata.signature


def test_an_example_that_does_not_fit_leaves_the_model_unwarmed(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Path(shutil.copytree(models / "wine", tmp_path / "wine"))
    (broken / "serving_input_example.json").write_text('{"inputs": {"pH": 1}}')
    warm_up(load(broken))

    assert [record.levelname for record in caplog.records if "input example" in record.message] == ["WARNING"]
    assert "the model is not warmed: its input example cannot be used: inputs: the column" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", '{"inputs"', "\x00", '{"nothing": 1}'])
def test_an_example_that_cannot_be_read_leaves_the_model_unwarmed(text: str, models: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(models / "wine", tmp_path / "wine"))
    (broken / "serving_input_example.json").write_text(text)
    model = load(broken, Loader.AUTO)
    warm_up(model)

    assert not model.native  # nothing can show that it predicts as MLflow does
    assert "its input example cannot be used" in str(model.example_problem)


def test_an_example_that_the_model_raises_on_ends_the_start_and_names_the_flag(models: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(models / "chosen", tmp_path / "chosen"))
    (broken / "serving_input_example.json").write_text('{"inputs": ["1 / 0"]}')
    document = (broken / "MLmodel").read_text()
    if "saved_input_example_info" not in document:
        (broken / "MLmodel").write_text(
            document + "saved_input_example_info: {serving_input_path: serving_input_example.json}\n"
        )

    with pytest.raises(ModelLoadError, match=r"does not predict its own input example: .* --warm-up false"):
        warm_up(load(broken))


def test_a_model_without_an_example_is_ready_without_being_called(
    model: Callable[[str], Model], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warm_up(model("one-long"))

    assert "the model has no input example" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "holds no mapping; is the file cut?", id="empty"),
        pytest.param("a: [", "cannot be read", id="no YAML"),
        pytest.param("flavors: {sklearn: {}}", "has no python_function flavor", id="another flavor"),
        pytest.param(
            'flavors: {python_function: {}}\nsignature: {inputs: \'[{"type": "quaternion"}]\'}',
            "no type quaternion",
            id="type",
        ),
        pytest.param(
            "flavors: {python_function: {}}\nsignature: {inputs: '{'}",
            "the signature in the MLmodel file",
            id="signature",
        ),
        pytest.param(
            "flavors: {python_function: {loader_module: no_such_module}}", "No module named", id="a missing module"
        ),
    ],
)
def test_a_model_that_does_not_load_says_why(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(text)

    with pytest.raises(ModelLoadError, match=message):
        load(tmp_path)


def test_a_model_whose_code_ends_the_process_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: of_a_script, code: code}}")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/of_a_script.py").write_text("import sys\nsys.exit(0)\n")

    with pytest.raises(ModelLoadError, match="SystemExit: 0"):
        load(tmp_path)


def raising(exception: str) -> str:
    return f"(_ for _ in ()).throw({exception})"


def never_written(*_: Any) -> Answer:
    raise AssertionError


def inputs_of(expression: str) -> Inputs:
    return Inputs(data=pd.DataFrame({"expression": [expression]}), params=None, rows=1, write=never_written)


def test_an_exception_in_the_model_is_written_only_to_the_log(
    model: Callable[[str], Model], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ServingError) as caught:
        chosen(model("chosen"), "{}['s3cret']")

    assert (caught.value.status, caught.value.error_code) == (500, "INTERNAL_ERROR")
    assert caught.value.message == "the model failed on this input (KeyError); the server's log says where"
    assert "KeyError: 's3cret'" in caplog.text


# Exceptions that are none to `except Exception`: of a script, of Rust's libraries, of a task. And one without a text.
RAISED = {
    "SystemExit": "SystemExit(3)",
    "PanicException": "type('PanicException', (BaseException,), {'__module__': 'of_rust'})('index out of bounds')",
    "CancelledError": "__import__('asyncio').CancelledError()",
    "Mute": "type('Mute', (Exception,), {'__module__': 'own', '__str__': lambda self: 1 / 0})()",
}


@pytest.mark.parametrize("kind", RAISED)
def test_any_exception_in_the_model_is_its_failure(kind: str, model: Callable[[str], Model]) -> None:
    with pytest.raises(ServingError) as caught:
        chosen(model("chosen"), raising(RAISED[kind]))

    assert caught.value.message == f"the model failed on this input ({kind}); the server's log says where"


def test_model_that_raises_in_a_thread_answers_the_next_request(model: Callable[[str], Model]) -> None:
    expressions = [*map(raising, (*RAISED.values(), "KeyboardInterrupt()")), "[1]"]

    async def answers() -> list[Any]:
        limits = BatchLimits(rows=0, threads=1, queue=100, in_loop=False)
        batches = Batches(model("chosen"), limits, CallCost(), lambda _: None)
        deadline = asyncio.get_running_loop().time() + 60
        asked = [batches.predict(inputs_of(expression), deadline, None) for expression in expressions]
        return await asyncio.gather(*asked, return_exceptions=True)

    *failed, last = asyncio.run(answers())
    assert [type(error) for error in failed] == [PredictionError] * len(failed)
    assert last.future.result() == [1]


class Streaming:
    """A model that exits after its first piece."""

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        raise AssertionError

    def predict_stream(self, data: Any, params: dict[str, Any] | None = None) -> Iterator[Any]:
        yield data
        sys.exit(3)


def test_model_that_exits_in_a_stream_fails_at_its_place_and_may_be_closed_before() -> None:
    whole, left = stream(Streaming(), 1, None), stream(Streaming(), 1, None)

    assert (next(whole), next(left)) == (1, 1)
    left.close()
    with pytest.raises(PredictionError, match="SystemExit"):
        next(whole)


class FailsAtItsEnd(Streaming):
    """A model that fails when its client has left."""

    def predict_stream(self, data: Any, params: dict[str, Any] | None = None) -> Iterator[Any]:
        try:
            yield data
        finally:
            raise ValueError


def test_model_that_fails_when_its_client_has_left_is_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        with ThreadPoolExecutor(1) as pool:
            pieces = ModelStream(pool, stream(FailsAtItsEnd(), 1, None), None)
            await pieces.next()
            await pieces.close()

    asyncio.run(leave())

    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["the model failed"]


def test_a_refusal_by_the_model_keeps_its_code_and_words(model: Callable[[str], Model]) -> None:
    expression = "(_ for _ in ()).throw(MlflowException('no such wine', error_code=RESOURCE_DOES_NOT_EXIST))"
    with pytest.raises(ServingError) as caught:
        chosen(model("chosen"), expression)

    assert (caught.value.status, caught.value.error_code, caught.value.message) == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "no such wine",
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("np.array([1.0, np.nan, np.inf])", [1.0, None, None]),
        ("np.array([['a', 'b']])", [["a", "b"]]),
        ("np.array([1, None], dtype=object)", [1, None]),
        ("np.array(['2024-01-31', 'NaT'], dtype='datetime64[ns]')", ["2024-01-31T00:00:00", None]),
        ("pd.DataFrame({'n': [1.0, None], 's': ['x', None]})", [{"n": 1.0, "s": "x"}, {"n": None, "s": None}]),
        ("pd.DataFrame({'t': pd.to_datetime(['2024-01-31', None])})", [{"t": "2024-01-31T00:00:00"}, {"t": None}]),
        ("pd.Series([1, 2], name='p')", [{"p": 1}, {"p": 2}]),
        ("pd.array([1, None], dtype='Int64')", [1, None]),
        ("pd.Index([1, 2])", [1, 2]),
        ("[np.float64(0.5), np.int8(1), np.bool_(True)]", [0.5, 1, True]),
        ("{'a': {1, 1}, 2: (3, 4)}", {"a": [1], "2": [3, 4]}),
        ("b'abc'", "YWJj"),
        ("decimal.Decimal('0.10')", "0.10"),
        ("datetime.timedelta(hours=25)", "P1DT1H0M0S"),
        ("datetime.date(2024, 1, 31)", "2024-01-31"),
        ("np.timedelta64(3, 's')", "P0DT0H0M3S"),
        ("np.array([2], dtype='m8[3M]')", ["P6M"]),
        ("np.array([-5], dtype='m8[as]')", ["PT-0.000000000000000005S"]),
        ("np.array([2**50, 1], dtype='m8[W]')", ["P1125899906842624W", "P7DT0H0M0S"]),
        ("np.array([2**60], dtype='m8[h]')", ["PT1152921504606846976H"]),
        ("[pd.NaT, pd.NA, None]", [None, None, None]),
        ("'text'", "text"),
        ("None", None),
    ],
)
def test_predictions_are_json_that_every_client_reads(
    expression: str, expected: object, model: Callable[[str], Model]
) -> None:
    body = chosen(model("chosen"), expression)

    assert json.loads(body, parse_constant=pytest.fail) == {"predictions": expected}


@pytest.mark.parametrize("expression", ["object()", "1j", "'\\ud800'", "lambda: 1"])
def test_predictions_that_json_cannot_express_are_an_error(expression: str, model: Callable[[str], Model]) -> None:
    with pytest.raises(ServingError) as caught:
        chosen(model("chosen"), expression)

    assert caught.value.status == 500
    assert "no answer can hold that" in caught.value.message


@pytest.mark.parametrize(
    ("expression", "as_string"),
    [
        ("np.array([1.0, np.nan, -np.inf])", [1.0, "NaN", "-Infinity"]),
        ("pd.DataFrame({'a': [np.inf, 1.0], 'b': ['x', None]})", [{"a": "Infinity", "b": "x"}, {"a": 1.0, "b": None}]),
        ("{'a': [np.float32('nan'), (1, float('nan'))]}", {"a": ["NaN", [1, "NaN"]]}),
        ("[None, pd.NA, pd.NaT]", [None, None, None]),
        ("[datetime.date(2024, 1, 31), decimal.Decimal('NaN'), None]", ["2024-01-31", "NaN", None]),
    ],
)
def test_nan_and_infinity_are_their_names_with_nan_string(
    expression: str, as_string: object, model: Callable[[str], Model]
) -> None:
    value = model("chosen").predict(
        read_request(json.dumps({"inputs": [expression]}).encode(), JSON, model("chosen").metadata.signature)
    )

    assert json.loads(encode(value, wrapped=False, nan=Nan.STRING), parse_constant=pytest.fail) == as_string


def test_nan_is_an_error_with_nan_error() -> None:
    assert encode([1.0, None], wrapped=False, nan=Nan.ERROR) == b"[1.0,null]"
    with pytest.raises(OutputError, match="the model predicted NaN or infinity"):
        encode([1.0, float("nan")], wrapped=False, nan=Nan.ERROR)


def test_an_example_that_the_type_hint_refuses_leaves_the_model_unwarmed(
    with_refused_example: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused = load(with_refused_example)
    warm_up(refused)
    found = warm_up_for_merging(refused)

    assert refused.example_problem is None  # it can be read, and MLflow's signature has no types to compare it with
    assert found.example_problem is not None
    assert found.example_problem.startswith("the model is not warmed: its input example cannot be used: ")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [found.example_problem]
    assert found.against_merging == "the model has no input example that can be used"


@pytest.mark.parametrize(
    ("kind", "value", "prediction"),
    [
        ("datetime", "2024-01-31", "sorted(data['x'].astype(str))"),
        ("string", "a", "sorted(data['x'])"),
        ("string", "a", "[text.upper() for text in data['x']] if len(data) > 1 else data['x'].iloc[0].upper()"),
        ("string", "a", "[{'x': text} for text in data['x']] if len(data) > 1 else {'x': data['x'].iloc[0]}"),
    ],
    ids=["times are sorted", "texts are sorted", "one prediction is no list", "one object is no list"],
)
def test_model_whose_answer_to_one_row_is_another_among_rows_is_not_merged(
    kind: str, value: str, prediction: str, written: Callable[..., Model]
) -> None:
    inputs = [{"type": kind, "name": "x", "required": True}]

    found = warm_up_for_merging(
        written(f"return {prediction}", inputs=inputs, example={"dataframe_records": [{"x": value}]})
    )

    assert found.against_merging == "it predicts something else for a row among others"


@pytest.mark.parametrize(
    "kept",
    [
        "self.out[:len(data)]",
        "self.whole",
        "pd.Series(self.whole, copy=False)",
        "pd.DataFrame({'p': self.whole}, copy=False)",
        "{'p': self.whole}",
        "[self.whole]",
        "(self.whole, self.whole)",
        "[{'p': self.whole[at:]} for at in range(len(data))]",
    ],
)
def test_prediction_does_not_change_with_the_next_one(kept: str, written: Callable[..., Model]) -> None:
    """A model may fill the same array in each call. The next call begins before the answer is written."""
    fill = "self.out = self.__dict__.get('out', np.zeros(8)); self.whole = self.out[:len(data)]; self.whole[:] = data"
    model = written(f"{fill}; return {kept}", inputs=TENSOR)
    array = np.array([1.0, 2.0])

    one = model.predict_conformed(array, None)
    merged = model.predict_merged([array + 2, array + 2], None)
    before = [encode(value, wrapped=False) for value in (one, merged)]
    model.predict_conformed(array + 4, None)

    assert [encode(value, wrapped=False) for value in (one, merged)] == before


WRITES: dict[str, tuple[str, Any, Any]] = {
    "into a tensor": ("data /= 2; return data.copy()", TENSOR, {"inputs": [2.0, 4.0]}),
    "into a tensor with a name": (
        "data['x'] /= 2; return data['x'].copy()",
        [TENSOR[0] | {"name": "x"}],
        {"inputs": {"x": [2.0, 4.0]}},
    ),
    "into a frame": ("return data.pop('a')", None, {"dataframe_records": [{"a": 1.0, "b": 2.0}]}),
    "into a list of a cell": (
        "return data['a'].map(lambda cell: cell.pop())",
        None,
        {"dataframe_records": [{"a": [1.0, 2.0]}, {"a": [3.0, 4.0]}]},
    ),
    "into an object of a cell": (
        "return data['a'].map(lambda cell: cell['c'].pop('d'))",
        None,
        {"dataframe_records": [{"a": {"c": {"d": 1.0}}}]},
    ),
}


@pytest.mark.parametrize("kind", WRITES)
def test_model_may_write_into_its_input(kind: str, written: Callable[..., Model]) -> None:
    """Others read the example again to warm up the model, and the input of a request to record it."""
    code, inputs, example = WRITES[kind]
    model = written(code, inputs=inputs, example=example)
    found = model.example()
    assert found is not None
    before = encode(found.data, wrapped=False)

    async def predict() -> None:
        limits = BatchLimits(rows=0, threads=1, queue=100, in_loop=False, reads_again=True)
        batches = Batches(model, limits, CallCost(), lambda _: None)
        request = Inputs(data=found.data, params=None, rows=found.rows, write=lambda *_: Answer())
        await batches.predict(request, asyncio.get_running_loop().time() + 60, None)

    assert warm_up_for_merging(model).against_merging is None
    asyncio.run(predict())
    assert encode(found.data, wrapped=False) == before


def test_user_without_a_home_has_that_of_a_container(
    written: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_294_967_294)  # a user that /etc/passwd does not have

    written("return data", inputs=None)

    assert os.environ["HOME"] == "/"
