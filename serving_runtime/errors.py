"""Errors of a request, or of a model. Every message is for the caller: none holds a value that was sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

MOST_FAULTS: Final = 20  # of one request: enough to correct it, too few to be an answer of megabytes


class ServingError(Exception):
    """An error with the HTTP status and MLflow's error code of its answer."""

    status: ClassVar[int] = 500
    error_code: ClassVar[str] = "INTERNAL_ERROR"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def message(self) -> str:
        return str(self)

    @property
    def details(self) -> list[dict[str, str]]:
        """One entry for each fault: `path`, its place in the request, and `problem`.

        A fault of a value also has the kind that was `expected` and the kind that it `got`.
        """
        return []


def _restored(kind: type[ServingError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ServingError:
    """Return the error of another process, without a call of `__init__`, which takes other arguments."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class MalformedRequestError(ServingError):
    """The request breaks the rules of its protocol, for any model."""

    status = 400
    error_code = "BAD_REQUEST"


class UnsupportedMediaTypeError(ServingError):
    """The Content-Type of the body is not supported."""

    status = 415
    error_code = "BAD_REQUEST"


class NotAcceptableError(ServingError):
    """The answer cannot have the media type that the request accepts."""

    status = 406
    error_code = "BAD_REQUEST"


class UnknownModelError(ServingError):
    """The path names a model, or a version of it, that is not served."""

    status = 404
    error_code = "RESOURCE_DOES_NOT_EXIST"


class NotLoadedError(ServingError):
    """The model is not loaded yet."""

    status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the model is not loaded yet; GET /readyz says when it is")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault at one place of a request, such as `dataframe_split.data[2][0]`."""

    path: str
    problem: str
    expected: str | None = None
    got: str | None = None

    @classmethod
    def mismatch(cls, path: str, *, got: str, expected: str) -> Self:
        """Return the fault of a value of another kind than the model takes."""
        return cls(path=path, problem=f"{got}, where the model takes {expected}", expected=expected, got=got)

    @property
    def detail(self) -> dict[str, str]:
        known = {"path": self.path, "problem": self.problem, "expected": self.expected, "got": self.got}
        return {key: value for key, value in known.items() if value is not None}

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class InvalidInputError(ServingError):
    """The request is well formed, and does not fit the model's signature."""

    status = 400
    error_code = "INVALID_PARAMETER_VALUE"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MOST_FAULTS])
        least = "at least " if len(faults) >= MOST_FAULTS else ""  # there may be more
        more = f" (and {least}{len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")

    @property
    def details(self) -> list[dict[str, str]]:
        return [fault.detail for fault in self.faults]


def at_once(*steps: Callable[[], Any]) -> list[Any]:
    """Return the result of each step; if some find faults of the input, raise InvalidInputError with those of all."""
    results, faults = [], list[Fault]()
    for step in steps:
        try:
            results.append(step())
        except InvalidInputError as error:
            faults += error.faults
    if faults:
        raise InvalidInputError(faults)
    return results


class PredictionError(ServingError):
    """The model raised an exception. Its text may hold the input, so it goes to the log only."""


class OutputError(ServingError):
    """The prediction cannot be expressed in JSON."""


class RefusedByModelError(ServingError):
    """The model's own code refused the input by an MlflowException; its author wrote the message for the caller."""

    def __init__(self, message: str, *, status: int, error_code: str) -> None:
        super().__init__(message)
        self._status = status
        self._error_code = error_code

    @property
    def status(self) -> int:  # type: ignore[override]  # the model chooses it
        return self._status

    @property
    def error_code(self) -> str:  # type: ignore[override]  # as above
        return self._error_code


class AskedToEndError(SystemExit):
    """A signal has asked the server to end while it starts. A model's code may raise SystemExit too."""


class ModelNotFoundError(ServingError):
    """There is no model in the place that the settings name."""


class ModelLoadError(ServingError):
    """There is a model, and it cannot be loaded or does not predict its own example."""
