"""The policy's table: every route of MLflow that the gate knows, and its access. The gate denies any other route.

The routes are those of MLflow 2.22, 3.17 and 3.18; a test compares them with MLflow's own tables.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tracking_gate.policy.guarded_operations import OPERATIONS, Operation
from tracking_gate.policy.people_changes import PEOPLE_CHANGES, PeopleChange
from tracking_gate.policy.route_patterns import ARTIFACTS, V2, V3, compiled


class RouteAccess(StrEnum):
    """The callers that a route lets through, with the words that `model-api-gate routes` prints for them."""

    callers: str

    def __new__(cls, value: str, callers: str) -> "RouteAccess":
        member = str.__new__(cls, value)
        member._value_, member.callers = value, callers
        return member

    PUBLIC = "public", "everyone"  # without authentication
    OBJECT = "object", "people; tokens of the project"
    RUN = "run", "people; tokens of the project"  # they get the answer that the gate's own lookup of the owner got
    PEOPLE = "people", "people"
    GUARDED = "guarded", "decided by its rule"  # forwarded as the gate writes it
    WRITE = "write", "people of the project, if there is one; no one if a promoted version has files there"
    CHANGE = "change", "people of the project, if there is one"  # forwarded as it came
    EMPTY = "empty", "people; answered by the gate, empty"
    DENIED = "denied", "no one"


NOT_ALLOWED: Final = "route not allowed"


class ObjectKey(StrEnum):
    """The parameter that names the object of an OBJECT or WRITE route."""

    MODEL = "name"
    RUN = "run_id"
    UPLOAD = "run_uuid"
    EXPERIMENT = "experiment_id"
    LOGGED_MODEL = "model_id"
    ARTIFACT = "path"
    FILTER = "filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A row. A GUARDED route has an `operation`, a CHANGE route a `change`, an EMPTY one the JSON of its `answer`.

    `refusal` is the message of a DENIED one.
    """

    methods: tuple[str, ...]
    path: str
    access: RouteAccess
    object_key: ObjectKey | None = None
    operation: Operation | None = None
    change: PeopleChange | None = None
    answer: str = "{}"
    refusal: str = NOT_ALLOWED

    @property
    def rule(self) -> str:
        """The label of metrics and of the audit log."""
        return self.operation.name if self.operation else f"{self.access}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A route, and the values of the variables in its path."""

    route: Route
    variables: dict[str, str]


def _public(path: str) -> Route:
    return Route(methods=("GET",), path=path, access=RouteAccess.PUBLIC)


def _object(path: str, object_key: ObjectKey, *methods: str) -> Route:
    return Route(methods=methods or ("GET",), path=path, access=RouteAccess.OBJECT, object_key=object_key)


def _people(path: str, *methods: str) -> Route:
    return Route(methods=methods or ("GET",), path=path, access=RouteAccess.PEOPLE)


def _guarded(operation: Operation) -> Route:
    return Route(methods=(operation.method,), path=operation.path, access=RouteAccess.GUARDED, operation=operation)


def _changing(change: PeopleChange) -> Route:
    return Route(methods=(change.method,), path=change.path, access=RouteAccess.CHANGE, change=change)


def _write(path: str, object_key: ObjectKey, *methods: str) -> Route:
    return Route(methods=methods, path=path, access=RouteAccess.WRITE, object_key=object_key)


def _denied(path: str, refusal: str = NOT_ALLOWED) -> Route:
    return Route(methods=ALL_METHODS, path=path, access=RouteAccess.DENIED, refusal=refusal)


ALL_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTES: Final = (
    _public("/health"),
    _public("/version"),
    _public(f"{V3}/server-info"),
    # Reads of a pod and of CI, in their project.
    _object(f"{V2}/registered-models/get", ObjectKey.MODEL),
    _object(f"{V2}/registered-models/alias", ObjectKey.MODEL),
    _object(f"{V2}/registered-models/get-latest-versions", ObjectKey.MODEL),
    _object(f"{V2}/model-versions/get", ObjectKey.MODEL),
    _object(f"{V2}/model-versions/get-download-uri", ObjectKey.MODEL),
    _object(f"{V2}/registered-models/search", ObjectKey.FILTER),
    _object(f"{V2}/model-versions/search", ObjectKey.FILTER),
    Route(methods=("GET",), path=f"{V2}/runs/get", access=RouteAccess.RUN),
    _object(f"{V2}/experiments/get", ObjectKey.EXPERIMENT),
    _object(f"{V2}/logged-models/<model_id>", ObjectKey.LOGGED_MODEL),
    _object(f"{V2}/artifacts/list", ObjectKey.RUN),
    _object(f"{ARTIFACTS}/artifacts", ObjectKey.ARTIFACT),
    _object(f"{ARTIFACTS}/artifacts/<path:path>", ObjectKey.ARTIFACT),
    _object(f"{ARTIFACTS}/presigned/<path:path>", ObjectKey.ARTIFACT),
    # Operations that move a version, or change an owner.
    *(_guarded(operation) for operation in OPERATIONS),
    # Writes and deletions of files.
    _write(f"{ARTIFACTS}/artifacts/<path:path>", ObjectKey.ARTIFACT, "PUT", "DELETE"),
    _write(f"{ARTIFACTS}/mpu/create/<path:path>", ObjectKey.ARTIFACT, "POST"),
    _write(f"{ARTIFACTS}/mpu/complete/<path:path>", ObjectKey.ARTIFACT, "POST"),
    _write(f"{ARTIFACTS}/mpu/abort/<path:path>", ObjectKey.ARTIFACT, "POST"),
    _write(f"{V2}/upload-artifact", ObjectKey.UPLOAD, "POST"),
    # Other changes by people.
    _denied(f"{V2}/runs/create-promptlab-run"),  # it calls the AI gateway
    *(_changing(change) for change in PEOPLE_CHANGES),
    # Reads of people and the tracking UI.
    _people("/"),
    _people("/static-files/<path:path>"),
    _people("/build/<path:path>"),
    _people("/graphql", "GET", "POST"),  # MLflow's schema has no mutation that changes anything
    _people("/get-artifact"),
    _people("/model-versions/get-artifact"),
    _people(f"{V2}/model-versions/get-artifact"),
    _people(f"{V2}/experiments/get-by-name"),
    _people(f"{V2}/experiments/search", "GET", "POST"),
    _people(f"{V2}/experiments/search-datasets", "POST"),
    _people("/API/2.0mlflow/experiments/search-datasets", "POST"),  # as MLflow misspells it
    _people(f"{V2}/runs/search", "POST"),
    _people(f"{V2}/metrics/<operation>"),
    _people(f"{V2}/logged-models/<model_id>/artifacts/directories"),
    _people(f"{V2}/logged-models/<model_id>/artifacts/files"),
    _people(f"{V2}/artifacts/presigned-download-url", "POST"),
    _people(f"{V2}/get-trace-artifact"),
    _people(f"{V2}/get-online-trace-details"),
    _people(f"{V2}/unified-traces"),
    _people(f"{V2}/traces"),
    _people(f"{V2}/traces/<path:rest>"),
    _people(f"{V3}/traces/<path:rest>"),
    *(
        _people(f"{V3}/traces/{name}", "POST")
        for name in ("search", "batchGetInfos", "metrics", "calculate-filter-correlation")
    ),
    _people(f"{V3}/get-trace-artifact"),
    _people(f"{V3}/ui-telemetry"),
    _people(f"{V3}/datasets/search", "POST"),
    _people(f"{V3}/datasets/<path:rest>"),
    # Routes that run code on the server, open connections from it, or circumvent the rules above.
    _denied(f"{V2}/artifacts/presigned-upload-url"),
    # The UI sends this on each page of runs, and would show a refusal as an error.
    Route(methods=("GET",), path=f"{V2}/gateway-proxy", access=RouteAccess.EMPTY, answer='{"endpoints": []}'),
    _denied(f"{V2}/gateway-proxy"),
    _denied(f"{V2}/webhooks"),
    _denied(f"{V2}/webhooks/<path:rest>"),
    _denied(f"{V2}/users/<path:rest>"),
    *(_denied(f"{V3}/{name}") for name in ("ui-telemetry", "workspaces", "issues", "mcp-servers", "skills")),
    *(
        _denied(f"{V3}/{name}/<path:rest>")
        for name in (
            "assistant",
            "demo",
            "gateway",
            "genai",
            "issues",
            "jobs",
            "label-schemas",
            "mcp-servers",
            "prompt-optimization",
            "review-queues",
            "scorer",
            "scorers",
            "skills",
            "workspaces",
        )
    ),
    _denied("/API/3.0/jobs"),
    _denied("/API/3.0/jobs/"),
    _denied("/API/3.0/jobs/<path:rest>"),
    _denied("/gateway/<path:rest>"),
    # By these words MLflow's client stores spans as a file of their trace, and does not ask again for each span.
    _denied("/v1/traces", "REST OTLP span logging is not supported by the gate"),
)


def match(method: str, path: str) -> Match | None:
    """Return the first row that matches, None for an unknown route. `HEAD` has the row of `GET`."""
    method = "GET" if method == "HEAD" else method
    for route in ROUTES:
        if method in route.methods and (found := compiled(route.path).fullmatch(path)):
            return Match(route=route, variables=found.groupdict())
    return None
