"""`check`: finds before a deployment what would fail in it."""

import argparse
import json
import os
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ContractError
from model_contract.prediction_differences import MOST_DIFFERENCES, differences
from serving_runtime.commands import lazy
from serving_runtime.commands.findings import Finding, Verdict, as_json, end, show
from serving_runtime.errors import ModelNotFoundError, ServingError
from serving_runtime.location import resolve_model_path
from serving_runtime.options import Loader

if TYPE_CHECKING:
    from serving_runtime.model import Model
    from serving_runtime.signature import Signature

FRAMES: Final = {"dataframe_split": "split", "dataframe_records": "records"}  # with pandas' names for them
CLOSE: Final = 1e-6  # relative; the order of additions makes no larger difference between two sums


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="for people, or for programs (default: text)"
    )
    parser.add_argument(
        "--require-match",
        action="store_true",
        help="fail if a library is of another version than the model was saved with",
    )


def run(options: argparse.Namespace) -> ExitCode:
    findings = list(check(require_match=options.require_match))
    model = findings[0].text
    if options.format == "json":
        print(as_json(findings, model))
    else:
        show(findings, model)
    return end(findings)


def check(*, require_match: bool) -> Iterator[Finding]:
    """Yield the findings in order, and stop after a failure that makes the later checks impossible."""
    try:
        path = resolve_model_path(os.environ)
    except ModelNotFoundError as error:
        yield _failed("path", str(error), code=ExitCode.NOT_FOUND)
        return
    except ContractError as error:
        yield _failed("path", str(error), code=ExitCode.INVALID_INPUT)
        return
    yield _ok("path", str(path))
    try:
        signature = lazy.read_metadata(path).signature
    except ServingError as error:
        yield _failed("signature", str(error), code=ExitCode.INVALID_INPUT)
        return
    yield _signature(signature)
    yield from _libraries(path, require_match=require_match)
    yield from _predictions(path)


def _signature(signature: "Signature") -> Finding:
    what = (
        f"{len(signature.columns)} columns"
        if signature.columns
        else f"{len(signature.tensors)} tensors"
        if signature.tensors
        else ""
    )
    params = f", {len(signature.params)} parameters" if signature.params else ""
    if signature.typed_in_code:
        return _ok("signature", "a type hint in the model's own code")
    if not what:
        return _warning(
            "signature",
            "the model has no signature, so its input is not checked",
            "log it with signature=infer_signature(input, output)",
        )
    return _ok("signature", what + params)


def _libraries(path: Path, *, require_match: bool) -> Iterator[Finding]:
    if python := lazy.python_difference(path):
        text = f"Python {python.installed}, the model was saved with {python.wanted}"
        yield (
            _failed("python", text)
            if require_match
            else _warning("python", text, f"use an image with Python {python.wanted}")
        )
    found = lazy.differences(path)
    text = "; ".join(map(str, found))
    if not found:
        yield _ok("libraries", "as the model was saved with")
    elif require_match or any(one.installed is None for one in found):
        yield _failed("libraries", text, remedy=lazy.pip_line(found))
    else:
        yield _warning("libraries", text, lazy.pip_line(found))


def _predictions(path: Path) -> Iterator[Finding]:
    began = time.perf_counter()
    try:
        model = lazy.load(path, Loader.AUTO)
        yield _ok("load", f"{time.perf_counter() - began:.2f} s")
        yield from _categories(model)
        began = time.perf_counter()
        if problem := lazy.predict_example(model):
            yield _warning("example", problem, "log it with an input_example= that MLflow can serve")
            return
    except ServingError as error:
        yield _failed("example" if "example" in str(error) else "load", str(error), code=ExitCode.UNEXPECTED)
        return
    if model.metadata.serving_example is None:
        remedy = "log it with input_example=, so that it is warmed up and checked before its first request"
        yield _warning("example", "the model has no input example: its first request is its first prediction", remedy)
        return
    yield _ok("example", f"predicted in {(time.perf_counter() - began) * 1000:.0f} ms")
    try:
        yield _compared_with_mlflow(path, model)
        yield _compared_loaders(path, model)
        yield _batches(model)
    except ServingError as error:
        yield _failed("predictions", str(error), code=ExitCode.UNEXPECTED)


def _categories(model: "Model") -> Iterator[Finding]:
    if model.categories is None:
        return
    if model.categories.by_position is None:
        yield _failed("categories", f"{model.categories.missing}; requests are refused")
    else:
        yield _ok(
            "categories", f"{len(model.categories.by_position)} columns are cast to those that the model was trained on"
        )


def _compared_with_mlflow(path: Path, model: "Model") -> Finding:
    """Compare the server's prediction of the example with MLflow's, which reads the example itself."""
    try:
        wanted = _plain(_mlflow_prediction(path, str(model.metadata.serving_example)))
    except Exception as error:  # noqa: BLE001  MLflow and the model's code may raise anything
        return _warning("mlflow", f"MLflow itself cannot predict the example ({type(error).__name__})", "")
    return _compared("mlflow", _example(model), wanted, "as PyFuncModel.predict has it")


def _mlflow_prediction(directory: Path, serving_example: str) -> Any:
    """Return the prediction of MLflow itself for the stored example. Raises the errors of MLflow and of the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's hints are for those who log models
        document = json.loads((directory / serving_example).read_text())
        model = lazy.load_pyfunc(directory)
        params = document.pop("params", None)
        return model.predict(_as_mlflow_reads(document, model), params=params)


def _as_mlflow_reads(document: Any, model: Any) -> Any:
    """Return the input as MLflow's scoring server gives it to the model."""
    from mlflow.pyfunc.utils.serving_data_parser import is_unified_llm_input  # noqa: PLC0415  loaded with the model
    from mlflow.utils import proto_json_utils as casts  # noqa: PLC0415  as above

    schema = model.metadata.get_input_schema()
    hinted = getattr(model.metadata.signature, "_is_signature_from_type_hint", False)
    for key, orient in FRAMES.items():
        if key in document:
            return casts.dataframe_from_parsed_json(document[key], orient, schema)  # type: ignore[no-untyped-call]  # MLflow's
    if hinted:
        return document["inputs"]
    if is_unified_llm_input(document):
        return document
    return casts.parse_tf_serving_input(document, schema)  # type: ignore[no-untyped-call]  # as above


def _compared_loaders(path: Path, model: "Model") -> Finding:
    """Compare the model as the server loads it by default with the same model as MLflow loads it."""
    if not model.native:
        return Finding(
            check="loader", verdict=Verdict.SKIPPED, text="MLflow loads this model: there is nothing to compare"
        )
    if lazy.predict_same(model, lazy.load(path, Loader.MLFLOW)):
        return _ok("loader", "loaded without MLflow it predicts the same")
    return _warning(
        "loader",
        "loaded without MLflow it predicts something else",
        "the server notices it and loads the model with MLflow, as --loader mlflow does",
    )


def _batches(model: "Model") -> Finding:
    """Report if requests may share a call: rows together must be predicted as each of them is alone."""
    against = lazy.warm_up_for_merging(model).against_merging
    if against is None:
        return _ok("batches", "rows are predicted together as they are alone: requests may share a call")
    return Finding(check="batches", verdict=Verdict.SKIPPED, text=f"requests are predicted one by one: {against}")


def _compared(name: str, one: Any, other: Any, text: str) -> Finding:
    if not any(differences(one, other)):
        return _ok(name, text)
    if not any(differences(one, other, CLOSE)):
        return _ok(name, f"{text}, but for the last digits")
    told = "; ".join(islice(differences(one, other, CLOSE), MOST_DIFFERENCES))
    return _failed(name, f"the prediction differs from MLflow's: {told}")


def _example(model: "Model") -> Any:
    example = model.example()
    return None if example is None else _plain(model.predict_conformed(example.data, example.params))


def _plain(value: Any) -> Any:
    return json.loads(lazy.encode(value, wrapped=False))


def _ok(name: str, text: str) -> Finding:
    return Finding(check=name, verdict=Verdict.OK, text=text)


def _warning(name: str, text: str, remedy: str) -> Finding:
    return Finding(check=name, verdict=Verdict.WARNING, text=text, remedy=remedy)


def _failed(name: str, text: str, *, remedy: str = "", code: ExitCode = ExitCode.PRECONDITION) -> Finding:
    return Finding(check=name, verdict=Verdict.FAILED, text=text, remedy=remedy, code=code)
