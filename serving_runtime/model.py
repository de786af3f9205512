"""One model of this process: loaded once, and called with the input of requests."""

import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from serving_runtime.errors import ModelLoadError, ServingError
from serving_runtime.example import example_problem, read_example
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform import Conformed, conformer
from serving_runtime.input.conform_plan import Conform, ConformPlan, Matrix
from serving_runtime.input.merging import copied, merged
from serving_runtime.input.request import Request, TypedFrame
from serving_runtime.input.table import from_frame
from serving_runtime.loaders.boosters import of_raw_model
from serving_runtime.loaders.categories import Categories
from serving_runtime.loaders.native import LOADERS, load_native
from serving_runtime.loaders.native_model import NativeModel
from serving_runtime.mlmodel import Metadata, read_metadata
from serving_runtime.options import Loader
from serving_runtime.pyfunc import (
    PyfuncModel,
    RawModel,
    StreamingModel,
    call,
    failed,
    load_pyfunc,
    own_copy,
    stream,
    without_input_check,
)
from serving_runtime.signature import Signature

# Inputs that the plan has made: MLflow's check would find nothing, and takes a tenth of a millisecond for each column.
PLANNED: Final = frozenset((Matrix, Blocks))
BOOSTERS: Final = frozenset({"mlflow.lightgbm", "mlflow.xgboost"})


class Model:
    """A loaded model. It may be called from any thread if the model's own code allows that."""

    def __init__(self, path: Path, metadata: Metadata, pyfunc: PyfuncModel) -> None:
        self.path = path
        self.metadata = metadata
        self.load_seconds = 0.0
        self._pyfunc = pyfunc
        self._by_position = isinstance(pyfunc, NativeModel) and pyfunc.by_position
        self._unchecked = without_input_check(pyfunc) if _names_are_texts(metadata.signature) else pyfunc
        self.plan = ConformPlan(metadata.signature, partial(self._general, conformer(metadata.signature)))

    @property
    def native(self) -> bool:
        """True if the model is called without MLflow."""
        return isinstance(self._pyfunc, NativeModel)

    @property
    def categories(self) -> Categories | None:
        """The categories that a model of LightGBM or XGBoost was trained on, if it was."""
        return self._pyfunc.categories if isinstance(self._pyfunc, NativeModel) else None

    @property
    def of_numbers(self) -> bool:
        """True if a library computes the predictions; the code of a model's author may do anything, and wait for it."""
        return self.metadata.flavors["python_function"].get("loader_module") in LOADERS

    @property
    def runs_own_code(self) -> bool:
        """True if code of the model's author may run in a prediction; a library that takes arrays runs none."""
        return not self._by_position

    def predict(self, request: Request) -> Any:
        """Return what the model returns: an array, a frame, a list, or what its author chose. Raises ServingError."""
        conformed = self.plan.conform(request)
        return self.predict_conformed(conformed.data, conformed.params, only_use=True)

    def predict_conformed(self, data: Any, params: Mapping[str, Any] | None, *, only_use: bool = False) -> Any:
        """Predict for input that is conformed to the signature already. `only_use`: nothing else reads it afterwards.

        Raises ServingError; an exception that the model raised goes to the log.
        """
        model = self._unchecked if type(data) in PLANNED else self._pyfunc
        prediction = call(model, self._model_input(data, only_use=only_use), None if params is None else dict(params))
        return self._kept(prediction)

    def predict_merged(self, inputs: Sequence[Any], params: Mapping[str, Any] | None) -> Any:
        """Predict for several inputs in one call. Raises the model's own exceptions; PredictionError for sys.exit."""
        data = merged(inputs)
        model = self._unchecked if type(data) in PLANNED else self._pyfunc
        try:
            prediction = model.predict(
                self._model_input(data, only_use=len(inputs) > 1), params=None if params is None else dict(params)
            )
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise failed(error) from error
        return self._kept(prediction)

    def stream(self, data: Any, params: Mapping[str, Any] | None) -> Generator[Any]:
        """Return the parts of an answer, as the model makes them. Raises ServingError, at any of them."""
        given = self._model_input(data, only_use=True)
        return stream(cast("StreamingModel", self._pyfunc), given, None if params is None else dict(params))

    def example(self) -> Conformed | None:
        """Return the input that was logged with the model, or None if there is none or it cannot be used."""
        try:
            request = read_example(self.metadata)
            return None if request is None else self.plan.conform(request)
        except ServingError:
            return None

    @property
    def example_problem(self) -> str | None:
        """The sentence that says why the model's example cannot be used."""
        return example_problem(self.metadata)

    def _model_input(self, data: Any, *, only_use: bool = False) -> Any:
        """Return the form of the input that the model itself takes.

        A model may write into what it gets: a copy, if others read the data too or if it is part of a body.
        """
        match data:
            case Matrix():
                # No rows at all are an error to LightGBM if they come as a frame.
                if self._by_position and data.values.size:
                    return data.rows if only_use else data.rows.copy(order="K")
                is_its_own = self._unchecked is self._pyfunc or (only_use and data.values.flags.owndata)
                return data.frame if is_its_own else data.frame.copy()
            case Blocks():
                return data.frame
            case _:
                return data if only_use else copied(data)

    def _kept(self, prediction: Any) -> Any:
        """Return the prediction as it may be kept: a library that takes arrays makes a new one in each call."""
        return own_copy(prediction) if self.runs_own_code else prediction

    def _general(self, conform: Conform, request: Request) -> Conformed:
        """Conform a typed frame like other input if the model is called without MLflow, which would check it."""
        if self.native and isinstance(request.input, TypedFrame) and not self.metadata.signature.says_nothing:
            request = Request(
                input=from_frame(request.input.frame), params=request.params, params_path=request.params_path
            )
        return conform(request)


def load(path: Path, loader: Loader = Loader.MLFLOW, metadata: Metadata | None = None) -> Model:
    """Load the model in the directory `path`, whose `metadata` may be known. Raises ModelLoadError."""
    began = time.perf_counter()
    metadata = metadata or read_metadata(path)
    native = _native(path, metadata, loader)
    model = Model(path, metadata, native or _by_mlflow(path, metadata))
    if native and loader is Loader.AUTO and model.example() is None:  # nothing can show that it predicts as MLflow does
        model = Model(path, metadata, _by_mlflow(path, metadata))
    model.load_seconds = time.perf_counter() - began
    return model


def _by_mlflow(path: Path, metadata: Metadata) -> PyfuncModel:
    """Load the model with MLflow.

    A model that was trained on categories is called without MLflow's check, which has no such type.
    """
    loaded = load_pyfunc(path)
    if (
        metadata.flavors["python_function"].get("loader_module") not in BOOSTERS
        or metadata.signature.params is not None
    ):
        return loaded
    return of_raw_model(cast("RawModel", loaded).get_raw_model()) or loaded


def _names_are_texts(signature: Signature) -> bool:
    """Return True if all columns have texts as names: MLflow's check makes several levels of names that are tuples."""
    return {type(column.name) for column in signature.columns} == {str}


def _native(path: Path, metadata: Metadata, loader: Loader) -> NativeModel | None:
    """Load the model without MLflow; `auto` does so only if an example can show that it predicts the same.

    Raises ModelLoadError.
    """
    if loader is Loader.MLFLOW or (loader is Loader.AUTO and metadata.serving_example is None):
        return None
    native = load_native(path, metadata)
    if native is None and loader is Loader.NATIVE:
        raise ModelLoadError(f"the model in {path} cannot be loaded without MLflow; use --loader auto")
    return native
