"""The interface of a protocol: it reads a message as the model's input, and writes predictions and errors as answers.

Light to import, because a process without a model answers errors in the protocol's shape too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import NotLoadedError, ServingError
from serving_runtime.frozen_record import frozen_record
from serving_runtime.options import Coerce, Nan

if TYPE_CHECKING:
    from serving_runtime.input.conform import Conformed
    from serving_runtime.input.request import Request
    from serving_runtime.mlmodel import Metadata
    from serving_runtime.signature import Signature

Headers = tuple[tuple[bytes, bytes], ...]
Schema = dict[str, Any]  # a JSON Schema (2020-12)

JSON: Final = b"application/json"
CLOSE: Final = (b"connection", b"close")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """The model as its clients see it. `conform` turns a request into the model's input; it raises ServingError.

    A faster `conform` may take the place of the default one (`input.conform.conformer`) if it gives the same, and
    leaves the rest to it, errors included. `serving` is for people to read: how the server loads and batches.
    `guarded`: requests need a token. `example_problem` is what the warm-up found wrong with the model's input example.
    """

    name: str
    version: str | None
    metadata: "Metadata"
    conform: "Callable[[Request], Conformed]"
    nan: Nan = Nan.NULL
    coerce: Coerce = Coerce.SAFE
    serving: Mapping[str, Any] | None = None
    guarded: bool = False
    example_problem: str | None = None


@frozen_record
class Message:
    """A request as it was received. `headers` have lower-case names.

    `path` has the values of the route's variables, such as `model`. `weight` is the number of bytes of JSON that take
    as long to read as the body does; None if that is the length of the body.
    """

    body: bytes
    headers: Mapping[bytes, bytes]
    path: Mapping[str, str]
    weight: int | None = None

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


@frozen_record
class Answer:
    """A whole answer, without the headers that every answer gets. `close` ends the connection after it."""

    status: int = 200
    body: bytes = b""
    media_type: bytes = JSON
    headers: Headers = ()
    close: bool = False


@frozen_record
class Prediction:
    """The model's return value, and the seconds that its call took."""

    value: Any
    seconds: float


@frozen_record
class Inputs:
    """The model's input: `data` and `params` are conformed to its signature, ready for the call.

    `rows` is the length of `data`, also of the prediction if the model predicts one for each row; None if data has no
    rows and so cannot be merged with that of other requests. `stream`: the client wants the answer in pieces. `write`
    raises ServingError; it is a function of a module, or a partial of one, which a process can send to another.
    """

    data: Any
    params: Mapping[str, Any] | None
    rows: int | None
    write: Callable[[Prediction, ServedModel], Answer]
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The reason for an answer without a prediction, before a protocol gives it a shape.

    `details` has `path` and `problem` of each fault of the input.
    """

    status: int
    error_code: str
    message: str
    details: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def of(cls, error: ServingError) -> "Refusal":
        details = ({key: _written(text) for key, text in detail.items()} for detail in error.details)
        return cls(
            status=error.status, error_code=error.error_code, message=_written(error.message), details=tuple(details)
        )


def _written(text: str) -> str:
    r"""Return the text with half of a surrogate pair as `\udada`: a name in it may be one, and UTF-8 has none."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The server's state as a protocol's endpoints show it: `ready` is the answer of its readiness probe.

    `served` is None while the model loads.
    """

    ready: bool
    served: ServedModel | None

    def loaded(self) -> ServedModel:
        """Return the model. Raises NotLoadedError."""
        if self.served is None:
            raise NotLoadedError
        return self.served


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint of a protocol that does not predict. `pattern` is a path with variables in braces.

    `answer` gets the values of those variables, and raises ServingError. `is_open`: the endpoint needs no token, for
    probes; its pattern has no variables.
    """

    method: str
    pattern: str
    answer: Callable[[Status, Mapping[str, str]], Answer]
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSchemas:
    """JSON Schemas of one signature's predictions, for OpenAPI: the body of a request, and that of its answer.

    `csv` describes a body of text/csv, if the protocol reads one. `tables` are the media types of binary tables, each
    with the schema of a body; `binary_answers` are those that an answer may have. `error` names the component that
    describes a refusal; `components` are those that the others refer to.
    """

    request: Schema
    answer: Schema
    csv: Schema | None = None
    tables: Mapping[str, Schema] = field(default_factory=dict)
    binary_answers: Mapping[str, Schema] = field(default_factory=dict)
    error: str = "Error"
    components: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """`name` is its label in logs and metrics. `predictions` are the patterns of the paths that predict, by POST.

    `read` raises ServingError; `refuse` renders it, and any other refusal, also of unknown paths below `prefix`.
    `schemas` describes the predictions for a signature.
    """

    name: str
    predictions: tuple[str, ...]
    read: Callable[[Message, ServedModel], Inputs]
    refuse: Callable[[Refusal], Answer]
    schemas: "Callable[[Signature], PredictionSchemas]"
    endpoints: tuple[Endpoint, ...] = ()
    prefix: str | None = None
