"""`check`: what would fail in deployment, before there is one."""

import argparse
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ContractError
from serving_runtime.commands import lazy
from serving_runtime.commands.compare import MOST, differences
from serving_runtime.commands.findings import Finding, Verdict, as_json, end, show
from serving_runtime.errors import ModelNotFoundError, ServingError
from serving_runtime.location import resolve_model_path
from serving_runtime.options import Loader

if TYPE_CHECKING:
    from serving_runtime.model import Model
    from serving_runtime.signature import Signature

CLOSE: Final = 1e-6  # beyond it two sums differ by more than the order in which they were added


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="for people, or for programs (default: text)"
    )
    parser.add_argument(
        "--require-match",
        action="store_true",
        help="fail where a library is of another version than the model was saved with",
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
    """Stops where what follows cannot be known."""
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
            "the model has none: what comes is not checked",
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
        remedy = "log it with input_example=, so that it is warmed and checked before its first request"
        yield _warning("example", "the model has none: its first request is the first prediction", remedy)
        return
    yield _ok("example", f"predicted in {(time.perf_counter() - began) * 1000:.0f} ms")
    try:
        yield _as_mlflow(path, model)
        yield _natively(path, model)
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


def _as_mlflow(path: Path, model: "Model") -> Finding:
    """The server's way to the model against `PyFuncModel.predict` with MLflow's own reading of the example."""
    try:
        wanted = _plain(lazy.reference(path, str(model.metadata.serving_example)))
    except Exception as error:  # noqa: BLE001  MLflow and the model's code may raise anything
        return _warning("mlflow", f"MLflow itself cannot predict the example ({type(error).__name__})", "")
    return _compared("mlflow", _example(model), wanted, "as PyFuncModel.predict has it")


def _natively(path: Path, model: "Model") -> Finding:
    """The model as the server loads it by default against the same model as MLflow loads it."""
    if not model.native:
        return Finding(check="loader", verdict=Verdict.SKIPPED, text="it is loaded by MLflow")
    if lazy.predict_same(model, lazy.load(path, Loader.MLFLOW)):
        return _ok("loader", "loaded without MLflow it predicts the same")
    return _warning(
        "loader",
        "loaded without MLflow it predicts something else",
        "the server finds out, and has MLflow load it: --loader mlflow",
    )


def _batches(model: "Model") -> Finding:
    """Requests share a call only where rows together are predicted as they are alone."""
    against = lazy.warm_up_and_measure(model).against_merging
    if against is None:
        return _ok("batches", "rows together are what they are alone: requests may share a call")
    return Finding(check="batches", verdict=Verdict.SKIPPED, text=f"requests are predicted one by one: {against}")


def _compared(name: str, one: Any, other: Any, text: str) -> Finding:
    if not any(differences(one, other)):
        return _ok(name, text)
    if not any(differences(one, other, CLOSE)):
        return _ok(name, f"{text}, but for the last digits")
    told = "; ".join(islice(differences(one, other, CLOSE), MOST))
    return _failed(name, f"it does not predict what MLflow does: {told}")


def _example(model: "Model") -> Any:
    example = model.example()
    return None if example is None else _plain(model.predict_conformed(example.data, example.params))


def _plain(value: Any) -> Any:
    return orjson.loads(lazy.encode(value, wrapped=False))


def _ok(name: str, text: str) -> Finding:
    return Finding(check=name, verdict=Verdict.OK, text=text)


def _warning(name: str, text: str, remedy: str) -> Finding:
    return Finding(check=name, verdict=Verdict.WARNING, text=text, remedy=remedy)


def _failed(name: str, text: str, *, remedy: str = "", code: ExitCode = ExitCode.PRECONDITION) -> Finding:
    return Finding(check=name, verdict=Verdict.FAILED, text=text, remedy=remedy, code=code)
