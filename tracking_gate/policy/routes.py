"""The policy's table: every route of MLflow that the gate knows, and what it does with it. What is not here is denied.

`API` stands for `api` and `ajax-api`, which are twins in MLflow; `<x>` is one segment of a path, `<path:x>` the rest of
it. Read off MLflow 2.22, 3.17 and 3.18; a test walks their own route tables and fails on one that is missing here.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from tracking_gate.policy.guarded_operations import ALL_OPERATIONS, REGISTRY, Operation
from tracking_gate.policy.people_changes import PEOPLE_CHANGES, PeopleChange


class RouteAccess(StrEnum):
    """What happens with a request."""

    PUBLIC = "public"  # anybody; streamed
    OBJECT = "object"  # tokens: an object of their project; people: streamed
    RUN = "run"  # tokens: a run of their project, as the gate has read it to know whose it is; people: streamed
    PEOPLE = "people"  # people only; streamed
    GUARDED = "guarded"  # parsed, decided, and forwarded as our own body
    WRITE = "write"  # people, where nothing promoted lies; streamed
    CHANGE = "change"  # people, what is of a project of theirs or of none; forwarded as it came
    EMPTY = "empty"  # people; the gate answers, as an MLflow does that has nothing of the kind
    DENIED = "denied"  # nobody


class ObjectKey(StrEnum):
    """Which object an OBJECT or WRITE route is about, and so where its project is found."""

    MODEL = "name"
    RUN = "run_id"
    UPLOAD = "run_uuid"
    EXPERIMENT = "experiment_id"
    LOGGED_MODEL = "model_id"
    ARTIFACT = "path"
    FILTER = "filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A row: `operation` names the rule of a GUARDED route, `answer` is the JSON of an EMPTY one.

    `change` says what a CHANGE route changes.
    """

    methods: tuple[str, ...]
    path: str
    access: RouteAccess
    object_key: ObjectKey | None = None
    operation: str | None = None
    change: PeopleChange | None = None
    answer: str = "{}"

    @property
    def rule(self) -> str:
        """For the audit log and `explain`."""
        return self.operation or f"{self.access}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A route, and what the variables of its path are in a request."""

    route: Route
    variables: dict[str, str]


LATER: Final = "/API/3.0/mlflow"
ARTIFACTS: Final = "/API/2.0/mlflow-artifacts"


def _public(path: str) -> Route:
    return Route(methods=("GET",), path=path, access=RouteAccess.PUBLIC)


def _object(path: str, object_key: ObjectKey, *methods: str) -> Route:
    return Route(methods=methods or ("GET",), path=path, access=RouteAccess.OBJECT, object_key=object_key)


def _people(path: str, *methods: str) -> Route:
    return Route(methods=methods or ("GET",), path=path, access=RouteAccess.PEOPLE)


def _guarded(operation: Operation) -> Route:
    return Route(
        methods=(operation.method,), path=operation.route, access=RouteAccess.GUARDED, operation=operation.name
    )


def _changing(change: PeopleChange) -> Route:
    return Route(methods=(change.method,), path=change.path, access=RouteAccess.CHANGE, change=change)


def _write(path: str, object_key: ObjectKey, *methods: str) -> Route:
    return Route(methods=methods, path=path, access=RouteAccess.WRITE, object_key=object_key)


def _denied(path: str) -> Route:
    return Route(methods=EVERY, path=path, access=RouteAccess.DENIED)


EVERY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTES: Final = (
    _public("/health"),
    _public("/version"),
    _public(f"{LATER}/server-info"),
    # What a pod and CI read of their project.
    _object(f"{REGISTRY}/registered-models/get", ObjectKey.MODEL),
    _object(f"{REGISTRY}/registered-models/alias", ObjectKey.MODEL),
    _object(f"{REGISTRY}/registered-models/get-latest-versions", ObjectKey.MODEL),
    _object(f"{REGISTRY}/model-versions/get", ObjectKey.MODEL),
    _object(f"{REGISTRY}/model-versions/get-download-uri", ObjectKey.MODEL),
    _object(f"{REGISTRY}/registered-models/search", ObjectKey.FILTER),
    _object(f"{REGISTRY}/model-versions/search", ObjectKey.FILTER),
    Route(methods=("GET",), path=f"{REGISTRY}/runs/get", access=RouteAccess.RUN),
    _object(f"{REGISTRY}/experiments/get", ObjectKey.EXPERIMENT),
    _object(f"{REGISTRY}/logged-models/<model_id>", ObjectKey.LOGGED_MODEL),
    _object(f"{REGISTRY}/artifacts/list", ObjectKey.RUN),
    _object(f"{ARTIFACTS}/artifacts", ObjectKey.ARTIFACT),
    _object(f"{ARTIFACTS}/artifacts/<path:path>", ObjectKey.ARTIFACT),
    _object(f"{ARTIFACTS}/presigned/<path:path>", ObjectKey.ARTIFACT),
    # What moves a model, or says whose it is.
    *(_guarded(operation) for operation in ALL_OPERATIONS),
    # What brings and takes files.
    _write(f"{ARTIFACTS}/artifacts/<path:path>", ObjectKey.ARTIFACT, "PUT", "DELETE"),
    _write(f"{ARTIFACTS}/mpu/create/<path:path>", ObjectKey.ARTIFACT, "POST"),
    _write(f"{ARTIFACTS}/mpu/complete/<path:path>", ObjectKey.ARTIFACT, "POST"),
    _write(f"{ARTIFACTS}/mpu/abort/<path:path>", ObjectKey.ARTIFACT, "POST"),
    _write(f"{REGISTRY}/upload-artifact", ObjectKey.UPLOAD, "POST"),
    _write(f"{REGISTRY}/logged-models/<model_id>", ObjectKey.LOGGED_MODEL, "DELETE"),
    # What people change beside that.
    _denied(f"{REGISTRY}/runs/create-promptlab-run"),  # it calls the AI gateway
    *(_changing(change) for change in PEOPLE_CHANGES),
    # What people and the tracking UI read.
    _people("/"),
    _people("/static-files/<path:path>"),
    _people("/build/<path:path>"),
    _people("/graphql", "GET", "POST"),  # it has no mutation that changes anything
    _people("/get-artifact"),
    _people("/model-versions/get-artifact"),
    _people(f"{REGISTRY}/model-versions/get-artifact"),
    _people(f"{REGISTRY}/experiments/get-by-name"),
    _people(f"{REGISTRY}/experiments/search", "GET", "POST"),
    _people(f"{REGISTRY}/experiments/search-datasets", "POST"),
    _people("/API/2.0mlflow/experiments/search-datasets", "POST"),  # MLflow's own slip of the pen
    _people(f"{REGISTRY}/runs/search", "POST"),
    _people(f"{REGISTRY}/metrics/<operation>"),
    _people(f"{REGISTRY}/logged-models/<model_id>/artifacts/directories"),
    _people(f"{REGISTRY}/logged-models/<model_id>/artifacts/files"),
    _people(f"{REGISTRY}/artifacts/presigned-download-url", "POST"),
    _people(f"{REGISTRY}/get-trace-artifact"),
    _people(f"{REGISTRY}/get-online-trace-details"),
    _people(f"{REGISTRY}/unified-traces"),
    _people(f"{REGISTRY}/traces"),
    _people(f"{REGISTRY}/traces/<path:rest>"),
    _people(f"{LATER}/traces/<path:rest>"),
    *(
        _people(f"{LATER}/traces/{name}", "POST")
        for name in ("search", "batchGetInfos", "metrics", "calculate-filter-correlation")
    ),
    _people(f"{LATER}/get-trace-artifact"),
    _people(f"{LATER}/ui-telemetry"),
    _people(f"{LATER}/datasets/search", "POST"),
    _people(f"{LATER}/datasets/<path:rest>"),
    # What runs code on the server, reaches out of it, or goes round the rules above.
    _denied(f"{REGISTRY}/artifacts/presigned-upload-url"),
    # The UI asks on each page of runs, and shows a refusal in red.
    Route(methods=("GET",), path=f"{REGISTRY}/gateway-proxy", access=RouteAccess.EMPTY, answer='{"endpoints": []}'),
    _denied(f"{REGISTRY}/gateway-proxy"),
    _denied(f"{REGISTRY}/webhooks"),
    _denied(f"{REGISTRY}/webhooks/<path:rest>"),
    _denied(f"{REGISTRY}/users/<path:rest>"),
    *(_denied(f"{LATER}/{name}") for name in ("ui-telemetry", "workspaces", "issues", "mcp-servers", "skills")),
    *(
        _denied(f"{LATER}/{name}/<path:rest>")
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
    _denied("/v1/traces"),
)


def match(method: str, path: str) -> Match | None:
    """The first row that fits; None for what the policy does not know. `HEAD` is served as `GET` is."""
    method = "GET" if method == "HEAD" else method
    for route in ROUTES:
        if method in route.methods and (found := _pattern(route.path).fullmatch(path)):
            return Match(route=route, variables=found.groupdict())
    return None


@cache
def _pattern(path: str) -> re.Pattern[str]:
    escaped = re.sub(r"<path:(\w+)>", r"(?P<\1>.+)", path)
    escaped = re.sub(r"(?<!\?P)<(\w+)>", r"(?P<\1>[^/]+)", escaped)
    return re.compile(escaped.replace("/API/", "/(?:ajax-)?api/").replace(".0", r"\.0"))
