"""What `model-api-runtime serve` can be told: flag > environment variable > default, each read the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_contract.model_ref import ContractError, shown
from model_contract.names import MODEL_NAME, MODEL_VERSION
from serving_runtime.options import Capture, Coerce, Loader, Nan
from serving_runtime.setting_types import (
    BATCH,
    BYTES,
    CAPTURE,
    FILE,
    HOST,
    NAME,
    NAMES,
    SHARE,
    SWITCH,
    Batch,
    Kind,
    one_of,
    seconds,
    whole_number,
)

MOST_WORKERS: Final = 64
# The event loop and the model share a core; more than four copies of a model cost memory before they gain speed.
MOST_WORKERS_BY_DEFAULT: Final = 4
# Endpoints of a Service are removed while the pod is asked to end; a proxy that has not heard yet still sends requests
# for a moment.
DRAIN_DELAY_IN_KUBERNETES: Final = "5"


class InvalidSettingError(ContractError):
    """A flag or a variable is set to what it cannot be."""

    def __init__(self, place: str, value: str, expected: str) -> None:
        super().__init__(f"{place} is {shown(value)}: it must be {expected}")


class UnavailableAddressError(ContractError):
    """The address of the settings is not this machine's, or in use."""

    def __init__(self, settings: "ServeSettings", error: OSError) -> None:
        reason = (error.strerror or str(error)).partition(" (")[0]  # then it repeats the address
        super().__init__(
            f"cannot listen on {settings.host} port {settings.port}: {reason}; set --host or --port to another one"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting: its name is the field of ServeSettings and, with hyphens, the flag."""

    name: str
    variable: str
    kind: Kind
    default: str
    meaning: str

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Times are in seconds, sizes in bytes."""

    host: str
    port: int
    workers: int
    threads: int
    loader: Loader
    require_match: bool
    warm_up: bool
    batch: Batch
    max_queue: int
    max_body: int
    max_rows: int
    read_timeout: float
    timeout: float
    drain_delay: float
    stop_timeout: float
    capture: Capture
    capture_sample: float
    capture_redact: frozenset[str]
    token_file: Path | None
    model_name: str
    model_version: str
    coerce: Coerce
    nan: Nan


OPTIONS: Final = (
    Option(
        name="host",
        variable="MODEL_API_RUNTIME_HOST",
        kind=HOST,
        default="0.0.0.0",  # noqa: S104  an address of the pod
        meaning="address to listen on",
    ),
    Option(name="port", variable="PORT", kind=whole_number(1, 65535), default="8080", meaning="port to listen on"),
    Option(
        name="workers",
        variable="MODEL_API_RUNTIME_WORKERS",
        kind=whole_number(1, MOST_WORKERS),
        default="the container's processors, at most 4",
        meaning="processes that predict; they share the memory of a model that was loaded before them",
    ),
    Option(
        name="threads",
        variable="MODEL_API_RUNTIME_THREADS",
        kind=whole_number(1, 256),
        default="1",
        meaning=(
            "predictions that one process runs at a time; more than one only helps a model that waits for something"
            " else"
        ),
    ),
    Option(
        name="loader",
        variable="MODEL_API_RUNTIME_LOADER",
        kind=one_of(Loader),
        default=Loader.AUTO,
        meaning=(
            "who loads the model: native does it without importing MLflow, mlflow with it, auto natively where both"
            " predict the same"
        ),
    ),
    Option(
        name="require_match",
        variable="MODEL_API_RUNTIME_REQUIRE_MATCH",
        kind=SWITCH,
        default="false",
        meaning=(
            "true: a model that was saved with another Python, or with another version of a library than is here, is"
            " not served"
        ),
    ),
    Option(
        name="warm_up",
        variable="MODEL_API_RUNTIME_WARM_UP",
        kind=SWITCH,
        default="true",
        meaning=(
            "false: the model is not asked to predict its input example before it is ready, so one that fails on it is"
            " served"
        ),
    ),
    Option(
        name="batch",
        variable="MODEL_API_RUNTIME_BATCH",
        kind=BATCH,
        default="auto",
        meaning=(
            "rows of waiting requests that are predicted in one call; auto is 256 where the model's example showed that"
            " this is right"
        ),
    ),
    Option(
        name="max_queue",
        variable="MODEL_API_RUNTIME_MAX_QUEUE",
        kind=whole_number(0, 100_000),
        default="128",
        meaning="requests that wait for a thread of one process; one more is answered 429",
    ),
    Option(
        name="max_body",
        variable="MODEL_API_RUNTIME_MAX_BODY",
        kind=BYTES,
        default="100M",
        meaning="size of a request's body; a larger one is answered 413",
    ),
    Option(
        name="max_rows",
        variable="MODEL_API_RUNTIME_MAX_ROWS",
        kind=whole_number(1, 1_000_000_000),
        default="1000000",
        meaning="rows of one request; more are answered 413",
    ),
    Option(
        name="read_timeout",
        variable="MODEL_API_RUNTIME_READ_TIMEOUT",
        kind=seconds(0.1, 3600),
        default="10",
        meaning=(
            "seconds in which the head of a request must have come, the longest silence in its body (408), "
            "and the longest in which a client takes nothing of its answer"
        ),
    ),
    Option(
        name="timeout",
        variable="MODEL_API_RUNTIME_TIMEOUT",
        kind=seconds(0.1, 86_400),
        default="60",
        meaning="seconds from the head of a request to its answer; then it is answered 504",
    ),
    Option(
        name="drain_delay",
        variable="MODEL_API_RUNTIME_DRAIN_DELAY",
        kind=seconds(0, 3600),
        default="5 in Kubernetes, 0 elsewhere",
        meaning="seconds after SIGTERM in which requests are still accepted, while readiness says no",
    ),
    Option(
        name="stop_timeout",
        variable="MODEL_API_RUNTIME_STOP_TIMEOUT",
        kind=seconds(0.1, 3600),
        default="20",
        meaning="seconds in which accepted requests may be finished after that",
    ),
    Option(
        name="capture",
        variable="MODEL_API_RUNTIME_CAPTURE",
        kind=CAPTURE,
        default="off",
        meaning=(
            "where predictions are recorded with their input: domino for its model monitoring, or jsonl: and the path"
            " of a file"
        ),
    ),
    Option(
        name="capture_sample",
        variable="MODEL_API_RUNTIME_CAPTURE_SAMPLE",
        kind=SHARE,
        default="1",
        meaning="share of the requests that are recorded",
    ),
    Option(
        name="capture_redact",
        variable="MODEL_API_RUNTIME_CAPTURE_REDACT",
        kind=NAMES,
        default="",
        meaning="columns and keys, with commas between them, that are recorded as null",
    ),
    Option(
        name="token_file",
        variable="MODEL_API_RUNTIME_TOKEN_FILE",
        kind=FILE,
        default="none",
        meaning="file with a token on each line, of which a request must bring one; it is read again when it changes",
    ),
    Option(
        name="model_name",
        variable=MODEL_NAME,
        kind=NAME,
        default="the name in the file registered_model_meta, or model",
        meaning="name of the model in the paths that have one",
    ),
    Option(
        name="model_version",
        variable=MODEL_VERSION,
        kind=NAME,
        default="the version in that file, if the name is from there",
        meaning="version of the model in those paths",
    ),
    Option(
        name="coerce",
        variable="MODEL_API_RUNTIME_COERCE",
        kind=one_of(Coerce),
        default=Coerce.SAFE,
        meaning=(
            "what becomes of a value of another type: safe refuses what would change it, mlflow casts as MLflow does"
        ),
    ),
    Option(
        name="nan",
        variable="MODEL_API_RUNTIME_NAN",
        kind=one_of(Nan),
        default=Nan.NULL,
        meaning="what NaN and infinity are in an answer: null, their names in a string, or an error",
    ),
)


def read_settings(flags: Mapping[str, str | None], environ: Mapping[str, str], *, cpus: float) -> ServeSettings:
    """Flag > variable > default; an empty variable counts as unset. Raises InvalidSettingError."""
    defaults = {option.name: option.default for option in OPTIONS} | {
        "workers": str(max(1, min(int(cpus), MOST_WORKERS_BY_DEFAULT))),
        "model_name": "",  # the model's files are read once it is known where they are
        "model_version": "",
        "drain_delay": DRAIN_DELAY_IN_KUBERNETES if environ.get("KUBERNETES_SERVICE_HOST") else "0",
    }
    return ServeSettings(**{option.name: _read(option, flags, environ, defaults[option.name]) for option in OPTIONS})


def _read(option: Option, flags: Mapping[str, str | None], environ: Mapping[str, str], default: str) -> Any:
    value, place = flags.get(option.name), option.flag
    if value is None:
        value, place = environ.get(option.variable) or default, option.variable
    try:
        return option.kind.read(value)
    except ValueError:
        raise InvalidSettingError(place, value, option.kind.expected) from None
