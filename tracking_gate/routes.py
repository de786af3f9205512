"""The policy's table: every route of MLflow that the gate knows, and what it does with it. What is not here is denied.

`API` stands for `api` and `ajax-api`, which are twins in MLflow; `<x>` is one segment of a path, `<path:x>` the rest of it. Read off
MLflow 2.22 and 3.17; a test walks their own route tables and fails on one that is missing here.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final


class Treatment(StrEnum):
    """What happens with a request."""

    PUBLIC = "public"  # anybody; streamed
    OBJECT = "object"  # tokens: an object of their project; people: streamed
    RUN = "run"  # tokens: a run of their project, as the gate has read it to know whose it is; people: streamed
    PEOPLE = "people"  # people only; streamed
    GUARDED = "guarded"  # parsed, decided, and forwarded as our own body
    WRITE = "write"  # people, where nothing promoted lies; streamed
    EMPTY = "empty"  # people; the gate answers, as an MLflow does that has nothing of the kind
    DENIED = "denied"  # nobody


class Subject(StrEnum):
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
    """A row: `operation` names the rule of a GUARDED route, `answer` is the JSON of an EMPTY one."""

    methods: tuple[str, ...]
    path: str
    treatment: Treatment
    subject: Subject | None = None
    operation: str | None = None
    answer: str = "{}"

    @property
    def rule(self) -> str:
        """For the audit log and `explain`."""
        return self.operation or f"{self.treatment}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A route, and what the variables of its path are in a request."""

    route: Route
    variables: dict[str, str]


REGISTRY: Final = "/API/2.0/mlflow"
LATER: Final = "/API/3.0/mlflow"
ARTIFACTS: Final = "/API/2.0/mlflow-artifacts"


def _public(path: str) -> Route:
    return Route(methods=("GET",), path=path, treatment=Treatment.PUBLIC)


def _object(path: str, subject: Subject, *methods: str) -> Route:
    return Route(methods=methods or ("GET",), path=path, treatment=Treatment.OBJECT, subject=subject)


def _people(path: str, *methods: str) -> Route:
    return Route(methods=methods or ("GET",), path=path, treatment=Treatment.PEOPLE)


def _guarded(method: str, path: str, operation: str) -> Route:
    return Route(methods=(method,), path=path, treatment=Treatment.GUARDED, operation=operation)


def _write(path: str, subject: Subject, *methods: str) -> Route:
    return Route(methods=methods, path=path, treatment=Treatment.WRITE, subject=subject)


def _denied(path: str) -> Route:
    return Route(methods=EVERY, path=path, treatment=Treatment.DENIED)


EVERY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTES: Final = (
    _public("/health"),
    _public("/version"),
    _public(f"{LATER}/server-info"),
    # What a pod and CI read of their project.
    _object(f"{REGISTRY}/registered-models/get", Subject.MODEL),
    _object(f"{REGISTRY}/registered-models/alias", Subject.MODEL),
    _object(f"{REGISTRY}/registered-models/get-latest-versions", Subject.MODEL),
    _object(f"{REGISTRY}/model-versions/get", Subject.MODEL),
    _object(f"{REGISTRY}/model-versions/get-download-uri", Subject.MODEL),
    _object(f"{REGISTRY}/registered-models/search", Subject.FILTER),
    _object(f"{REGISTRY}/model-versions/search", Subject.FILTER),
    Route(methods=("GET",), path=f"{REGISTRY}/runs/get", treatment=Treatment.RUN),
    _object(f"{REGISTRY}/experiments/get", Subject.EXPERIMENT),
    _object(f"{REGISTRY}/logged-models/<model_id>", Subject.LOGGED_MODEL),
    _object(f"{REGISTRY}/artifacts/list", Subject.RUN),
    _object(f"{ARTIFACTS}/artifacts", Subject.ARTIFACT),
    _object(f"{ARTIFACTS}/artifacts/<path:path>", Subject.ARTIFACT),
    _object(f"{ARTIFACTS}/presigned/<path:path>", Subject.ARTIFACT),
    # What moves a model, or says whose it is.
    _guarded("POST", f"{REGISTRY}/model-versions/transition-stage", "transition_stage"),
    _guarded("POST", f"{REGISTRY}/registered-models/alias", "set_alias"),
    _guarded("DELETE", f"{REGISTRY}/registered-models/alias", "delete_alias"),
    _guarded("POST", f"{REGISTRY}/model-versions/set-tag", "set_version_tag"),
    _guarded("DELETE", f"{REGISTRY}/model-versions/delete-tag", "delete_version_tag"),
    _guarded("POST", f"{REGISTRY}/registered-models/set-tag", "set_model_tag"),
    _guarded("DELETE", f"{REGISTRY}/registered-models/delete-tag", "delete_model_tag"),
    _guarded("POST", f"{REGISTRY}/registered-models/create", "create_model"),
    _guarded("PATCH", f"{REGISTRY}/registered-models/update", "update_model"),
    _guarded("POST", f"{REGISTRY}/registered-models/rename", "rename_model"),
    _guarded("DELETE", f"{REGISTRY}/registered-models/delete", "delete_model"),
    _guarded("POST", f"{REGISTRY}/registered-models/get-latest-versions", "latest_versions"),
    _guarded("POST", f"{REGISTRY}/model-versions/create", "create_version"),
    _guarded("PATCH", f"{REGISTRY}/model-versions/update", "update_version"),
    _guarded("DELETE", f"{REGISTRY}/model-versions/delete", "delete_version"),
    _guarded("POST", f"{REGISTRY}/experiments/create", "create_experiment"),
    _guarded("POST", f"{REGISTRY}/experiments/set-experiment-tag", "set_experiment_tag"),
    _guarded("POST", f"{REGISTRY}/experiments/delete-experiment-tag", "delete_experiment_tag"),
    _guarded("POST", f"{REGISTRY}/experiments/delete", "delete_experiment"),
    _guarded("POST", f"{REGISTRY}/runs/delete", "delete_run"),
    _guarded("POST", f"{REGISTRY}/logged-models/search", "search_logged_models"),
    # What brings and takes files.
    _write(f"{ARTIFACTS}/artifacts/<path:path>", Subject.ARTIFACT, "PUT", "DELETE"),
    _write(f"{ARTIFACTS}/mpu/create/<path:path>", Subject.ARTIFACT, "POST"),
    _write(f"{ARTIFACTS}/mpu/complete/<path:path>", Subject.ARTIFACT, "POST"),
    _write(f"{ARTIFACTS}/mpu/abort/<path:path>", Subject.ARTIFACT, "POST"),
    _write(f"{REGISTRY}/upload-artifact", Subject.UPLOAD, "POST"),
    _write(f"{REGISTRY}/logged-models/<model_id>", Subject.LOGGED_MODEL, "DELETE"),
    # What people and the tracking UI do beside that.
    _people("/"),
    _people("/static-files/<path:path>"),
    _people("/build/<path:path>"),
    _people("/graphql", "GET", "POST"),
    _people("/get-artifact"),
    _people("/model-versions/get-artifact"),
    _people(f"{REGISTRY}/model-versions/get-artifact"),
    _people(f"{REGISTRY}/experiments/get-by-name"),
    _people(f"{REGISTRY}/experiments/search", "GET", "POST"),
    _people(f"{REGISTRY}/experiments/restore", "POST"),
    _people(f"{REGISTRY}/experiments/update", "POST"),
    _people(f"{REGISTRY}/experiments/search-datasets", "POST"),
    _people("/API/2.0mlflow/experiments/search-datasets", "POST"),  # MLflow's own slip of the pen
    _denied(f"{REGISTRY}/runs/create-promptlab-run"),  # it calls the AI gateway
    _people(f"{REGISTRY}/runs/<operation>", "POST"),
    _people(f"{REGISTRY}/metrics/<operation>"),
    _people(f"{REGISTRY}/logged-models", "POST"),
    _people(f"{REGISTRY}/logged-models/<model_id>", "PATCH"),
    _people(f"{REGISTRY}/logged-models/<model_id>/params", "POST"),
    _people(f"{REGISTRY}/logged-models/<model_id>/tags", "PATCH"),
    _people(f"{REGISTRY}/logged-models/<model_id>/tags/<key>", "DELETE"),
    _people(f"{REGISTRY}/logged-models/<model_id>/artifacts/directories"),
    _people(f"{REGISTRY}/logged-models/<model_id>/artifacts/files"),
    _people(f"{REGISTRY}/artifacts/presigned-download-url", "POST"),
    _people(f"{REGISTRY}/get-trace-artifact"),
    _people(f"{REGISTRY}/get-online-trace-details"),
    _people(f"{REGISTRY}/unified-traces"),
    _people(f"{REGISTRY}/traces", *EVERY),
    _people(f"{REGISTRY}/traces/<path:rest>", *EVERY),
    _people(f"{LATER}/traces", *EVERY),
    _people(f"{LATER}/traces/<path:rest>", *EVERY),
    _people(f"{LATER}/get-trace-artifact"),
    _people(f"{LATER}/ui-telemetry"),
    _people(f"{LATER}/datasets/<path:rest>", *EVERY),
    # What runs code on the server, reaches out of it, or goes round the rules above.
    _denied(f"{REGISTRY}/artifacts/presigned-upload-url"),
    # The UI asks on each page of runs, and shows a refusal in red.
    Route(methods=("GET",), path=f"{REGISTRY}/gateway-proxy", treatment=Treatment.EMPTY, answer='{"endpoints": []}'),
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
