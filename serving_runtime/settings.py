"""Settings of `model-api-runtime serve`: option > environment variable > default, each read in the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.model_ref import ContractError
from model_contract.names import MODEL_NAME, MODEL_VERSION
from model_contract.setting_types import boolean, one_of, port_number, whole_number
from model_contract.settings import read_settings as read_declared
from model_contract.settings import setting, settings_of
from serving_runtime import setting_types as types
from serving_runtime.options import Capture, Coerce, Loader, Nan

PREFIX: Final = "MODEL_API_RUNTIME_"
MOST_WORKERS: Final = 64
# The event loop and the model share a core; more than four copies of a model cost memory before they gain speed.
MOST_WORKERS_BY_DEFAULT: Final = 4
# Kubernetes removes a pod from the Service while it ends the pod; a proxy that does not know it yet sends requests
# for a moment.
DRAIN_DELAY_IN_KUBERNETES: Final = "5"


class UnavailableAddressError(ContractError):
    """The address to listen on is in use, or is not one of this machine."""

    def __init__(self, host: str, port: int, option: str, error: OSError) -> None:
        reason = (error.strerror or str(error)).partition(" (")[0]  # then it repeats the address
        super().__init__(f"cannot listen on {host} port {port}: {reason}; set --host or {option} to another one")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Each field is an option and a variable. Times are in seconds, sizes in bytes."""

    host: str = setting("address to listen on", read=types.host, default="0.0.0.0")  # noqa: S104  a pod's
    port: int = setting("port to listen on", read=port_number, default="8080", variable="PORT")
    grpc_port: int | None = setting(
        "port of gRPC, or off; it needs the extra grpc", read=types.grpc_port, default="off"
    )
    workers: int = setting(
        "processes that predict; they share the memory of a model that was loaded before them",
        read=whole_number(1, MOST_WORKERS),
        default="1",
        default_text="the container's processors, at most 4",
    )
    threads: int = setting(
        "predictions that one process runs at a time; more than one only helps a model that waits for something else",
        read=whole_number(1, 256),
        default="1",
    )
    loader: Loader = setting(
        "native loads the model without importing MLflow, mlflow with it; auto is native if both predict the same",
        read=one_of(Loader),
        default=Loader.AUTO,
    )
    require_match: bool = setting(
        "true: a model that was saved with another version of Python or of a library than is installed is not served",
        read=boolean,
        default="false",
    )
    warm_up: bool = setting(
        "false: the model does not predict its input example before it is ready, so one that fails on it is served",
        read=boolean,
        default="true",
    )
    batch: types.Batch = setting(
        "rows of waiting requests that are predicted in one call; auto is 256 if the model's example allows it",
        read=types.batch,
        default="auto",
    )
    max_queue: int = setting(
        "requests that wait for a thread of one process; one more is answered 429",
        read=whole_number(0, 100_000),
        default="128",
    )
    max_body: int = setting("size of a request's body; a larger one is answered 413", read=types.size, default="100M")
    max_rows: int = setting(
        "rows of one request; more are answered 413", read=whole_number(1, 1_000_000_000), default="1000000"
    )
    read_timeout: float = setting(
        "seconds in which the head of a request must have come, the longest silence in its body (408), and the longest"
        " time in which a client takes nothing of its answer",
        read=types.seconds(0.1, 3600),
        default="10",
    )
    timeout: float = setting(
        "seconds from the head of a request to its answer; then it is answered 504. A worker whose model blocks"
        " Python is ended after 30 s more",
        read=types.seconds(0.1, 86_400),
        default="60",
    )
    drain_delay: float = setting(
        "seconds after SIGTERM in which requests are still accepted, while the server is not ready",
        read=types.seconds(0, 3600),
        default="0",
        default_text="5 in Kubernetes, 0 elsewhere",
    )
    stop_timeout: float = setting(
        "seconds after that in which accepted requests may be finished", read=types.seconds(0.1, 3600), default="20"
    )
    capture: Capture = setting(
        "records predictions with their input: domino for its model monitoring, jsonl: and the path of a file, or"
        " parquet: and a directory, also s3://bucket/key, for the inference table",
        read=types.capture,
        default="off",
    )
    capture_rows: int = setting(
        "rows of a file of the inference table", read=whole_number(1, 10_000_000), default="100000"
    )
    capture_bytes: int = setting(
        "bytes in memory that become a file of the inference table", read=types.size, default="32M"
    )
    capture_seconds: float = setting(
        "age of the oldest row that becomes a file of the inference table, in seconds",
        read=types.seconds(1, 86_400),
        default="60",
    )
    capture_sample: float = setting("share of the requests that are recorded", read=types.share, default="1")
    capture_redact: frozenset[str] = setting(
        "columns and keys, with commas between them, that are recorded as null", read=types.names, default=""
    )
    token_file: Path | None = setting(
        "file with a token on each line; a request must send one of them; the file is read again when it changes",
        read=types.file,
        default="none",
        secret=True,
    )
    model_name: str = setting(
        "name of the model in the paths that have one",
        read=types.name,
        default="",
        default_text="the name in the file registered_model_meta, or model",
        variable=MODEL_NAME,
    )
    model_version: str = setting(
        "version of the model in those paths",
        read=types.name,
        default="",
        default_text="the version in that file, if the name is from there",
        variable=MODEL_VERSION,
    )
    coerce: Coerce = setting(
        "conversion of a value of another type: safe refuses what would change it, mlflow casts as MLflow does",
        read=one_of(Coerce),
        default=Coerce.SAFE,
    )
    nan: Nan = setting(
        "NaN and infinity in an answer: null, their names in a string, or an error",
        read=one_of(Nan),
        default=Nan.NULL,
    )


OPTIONS: Final = settings_of(ServeSettings, prefix=PREFIX)


def read_settings(options: Mapping[str, str | None], environ: Mapping[str, str], *, cpus: float) -> ServeSettings:
    """Return the settings: option > variable > default; an empty variable counts as unset. Raises SettingError.

    `cpus` is the number of processors from `process.cpus`, for the default of `workers`.
    """
    computed = {
        "workers": str(max(1, min(int(cpus), MOST_WORKERS_BY_DEFAULT))),
        "drain_delay": DRAIN_DELAY_IN_KUBERNETES if environ.get("KUBERNETES_SERVICE_HOST") else "0",
    }
    variables = {name: value for name, value in environ.items() if value}
    return read_declared(ServeSettings, variables, prefix=PREFIX, options=options, computed=computed)
