"""One model of this process: loaded once, warmed, and asked."""

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from serving_runtime.errors import InvalidInputError, ModelLoadError, ServingError
from serving_runtime.example import UnusableExampleError, read_example
from serving_runtime.input.conform import Conformed, conformer
from serving_runtime.input.conform_plan import Conform, ConformPlan, Matrix, merged
from serving_runtime.input.forms import Frame, Request
from serving_runtime.loaders.boosters import of_raw_model
from serving_runtime.loaders.categories import Categories
from serving_runtime.loaders.frames import as_table
from serving_runtime.loaders.native import LOADERS, load_native
from serving_runtime.loaders.native_model import NativeModel
from serving_runtime.mlmodel import Metadata, read_metadata
from serving_runtime.options import Loader
from serving_runtime.pyfunc import PyfuncModel, RawModel, StreamingModel, call, load_pyfunc, stream

BOOSTERS: Final = frozenset({"mlflow.lightgbm", "mlflow.xgboost"})
UNUSABLE: Final = "the model is not warmed: its input example cannot be used: {reason}"
FAILED: Final = (
    "the model does not predict its own input example: {reason}; "
    "to serve it all the same, start with --warm-up false (MODEL_API_RUNTIME_WARM_UP=false)"
)

_log = logging.getLogger(__name__)


class Model:
    """Predicts from any thread, as far as the model's own code can."""

    def __init__(self, path: Path, metadata: Metadata, pyfunc: PyfuncModel) -> None:
        self.path = path
        self.metadata = metadata
        self.load_seconds = 0.0
        self._pyfunc = pyfunc
        self._by_position = isinstance(pyfunc, NativeModel) and pyfunc.by_position
        self.plan = ConformPlan(metadata.signature, partial(self._general, conformer(metadata.signature)))

    @property
    def native(self) -> bool:
        """It is called without MLflow."""
        return isinstance(self._pyfunc, NativeModel)

    @property
    def categories(self) -> Categories | None:
        """Those that the model was trained on, if it is one of LightGBM or XGBoost that was."""
        return self._pyfunc.categories if isinstance(self._pyfunc, NativeModel) else None

    @property
    def of_numbers(self) -> bool:
        """A library computes its predictions; no code of its author's does, which may do anything, and wait for it."""
        return self.metadata.flavors["python_function"].get("loader_module") in LOADERS

    def predict(self, request: Request) -> Any:
        """What the model returns: an array, a frame, a list or what its author chose. Raises ServingError."""
        conformed = self.plan.conform(request)
        return self.predict_conformed(conformed.data, conformed.params)

    def predict_conformed(self, data: Any, params: Mapping[str, Any] | None) -> Any:
        """The same for what is conformed to the signature already. Raises ServingError; what the model raised goes to
        the log.
        """
        return call(self._pyfunc, self._given([data]), None if params is None else dict(params))

    def predict_merged(self, inputs: Sequence[Any], params: Mapping[str, Any] | None) -> Any:
        """One prediction for inputs that may become one. Raises whatever the model does: the caller goes on in another
        way.
        """
        return self._pyfunc.predict(self._given(inputs), params=None if params is None else dict(params))

    def stream(self, data: Any, params: Mapping[str, Any] | None) -> Generator[Any]:
        """The parts of an answer, as the model makes them. Raises ServingError, at any of them."""
        return stream(
            cast("StreamingModel", self._pyfunc), self._given([data]), None if params is None else dict(params)
        )

    def example(self) -> Conformed | None:
        """Return the input that was logged with the model, or None if there is none or it cannot be used."""
        try:
            return self._example()
        except UnusableExampleError:
            return None

    @property
    def example_problem(self) -> str | None:
        """The sentence that says why the model's example cannot be used."""
        return example_problem(self.metadata)

    def _example(self) -> Conformed | None:
        request = read_example(self.metadata)
        try:
            return None if request is None else self.plan.conform(request)
        except ServingError as error:
            raise UnusableExampleError(error.message) from error

    def warm_up(self) -> None:
        """Predict the example, so that the first caller does not wait for what a first call loads.

        A model without an example that can be used is not called. Raises ModelLoadError if the model fails on it.
        """
        from serving_runtime.codec.encode import encode  # noqa: PLC0415  what a first call of it loads is loaded too

        if problem := self.example_problem:
            _log.warning(problem)
            return
        example = self.example()
        if example is None:
            _log.info("the model has no input example, so it is not warmed")
            return
        try:
            encode(self.predict_conformed(example.data, example.params), wrapped=True)
        except InvalidInputError as error:  # MLflow refuses it before the model sees it
            _log.warning(UNUSABLE.format(reason=error))
        except ServingError as error:
            raise ModelLoadError(FAILED.format(reason=error)) from error

    def _given(self, inputs: Sequence[Any]) -> Any:
        """What the model itself takes for them."""
        data = merged(inputs)
        match data:
            case Matrix():
                # No rows at all are an error to LightGBM, where they come as a frame.
                return data.rows if self._by_position and data.values.size else data.frame
            case _:
                return data

    def _general(self, conform: Conform, request: Request) -> Conformed:
        """MLflow's own check judges frames that came with types; without it they are checked as all others are."""
        if self.native and isinstance(request.input, Frame):
            request = Request(
                input=as_table(request.input.frame), params=request.params, params_path=request.params_path
            )
        return conform(request)


def example_problem(metadata: Metadata) -> str | None:
    """Return the sentence that says why the model's example cannot be used; None if it can, or if there is none."""
    try:
        if request := read_example(metadata):
            conformer(metadata.signature)(request)
    except ServingError as error:
        return UNUSABLE.format(reason=error)
    return None


def load(path: Path, loader: Loader = Loader.MLFLOW) -> Model:
    """Loads the model in the directory `path`. Raises ModelLoadError."""
    began = time.perf_counter()
    metadata = read_metadata(path)
    native = _native(path, metadata, loader)
    model = Model(path, metadata, native or _by_mlflow(path, metadata))
    if native and loader is Loader.AUTO and model.example() is None:  # there is nothing to compare it by
        model = Model(path, metadata, _by_mlflow(path, metadata))
    model.load_seconds = time.perf_counter() - began
    return model


def _by_mlflow(path: Path, metadata: Metadata) -> PyfuncModel:
    """The model as MLflow loads it; one that was trained on categories is called without MLflow's check, which has no
    such type.
    """
    loaded = load_pyfunc(path)
    if (
        metadata.flavors["python_function"].get("loader_module") not in BOOSTERS
        or metadata.signature.params is not None
    ):
        return loaded
    return of_raw_model(cast("RawModel", loaded).get_raw_model()) or loaded


def _native(path: Path, metadata: Metadata, loader: Loader) -> NativeModel | None:
    """`auto` takes it only where an example can show that it predicts as MLflow does."""
    if loader is Loader.MLFLOW or (loader is Loader.AUTO and metadata.serving_example is None):
        return None
    native = load_native(path, metadata)
    if native is None and loader is Loader.NATIVE:
        raise ModelLoadError(f"the model in {path} cannot be loaded without MLflow; use --loader auto")
    return native
