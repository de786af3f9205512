"""The API of python-domino 2.2 and private routes beside it, whose answers have the shapes of recorded ones."""

from typing import Any, Final

from testbed.domino.platform import Platform
from testbed.domino.records import RUNNING, ModelApi, Version
from testbed.domino.routing import Answer, RefusedError, Request, Route, required

Json = dict[str, Any]
PUBLISHED: Final = ("projectId", "file", "function", "environmentId")


def version(platform: Platform, request: Request) -> Answer:
    return Answer.of(
        {"buildId": "local", "buildUrl": "", "commitId": "", "commitUrl": "", "timestamp": "", "version": "5.11.1"}
    )


def models(platform: Platform, request: Request) -> Answer:
    """Return id, name and state of a project's model APIs."""
    return Answer.of(
        [
            summary(platform, model)
            for model in platform.of_project(request.query.get("projectId"))
            if not model.archived
        ]
    )


def summary(platform: Platform, model: ModelApi) -> Json:
    project = platform.projects[model.project_id]
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "activeVersionNumber": model.active.number,
        "activeModelVersionId": model.active.id,
        "activeVersionStatus": model.active.status,
        "lastModified": model.created,
        "projectId": project.id,
        "projectName": project.name,
        "projectOwnerUsername": project.owner,
        "owners": [{"id": "62ab876e030b0306f5095bcb", "name": project.owner}],
    }


def publish(platform: Platform, request: Request) -> Answer:
    body = request.document
    required(body, ("name", "description", *PUBLISHED))
    model = platform.create(
        name=body["name"],
        description=body["description"],
        environment_id=body["environmentId"],
        project_id=body["projectId"],
        version=version_fields(platform, body | {"description": ""}),
    )
    return Answer.of({"data": {"_id": model.id, "name": model.name, "description": model.description}})


def publish_version(platform: Platform, request: Request) -> Answer:
    body = request.document
    required(body, ("description", *PUBLISHED))
    made = platform.publish(platform.live(request.variables["id"]).id, **version_fields(platform, body))
    return Answer.of({"id": made.id, "number": made.number})


def version_fields(platform: Platform, body: Json) -> Json:
    if body["projectId"] not in platform.projects:
        raise RefusedError(403, "You do not have access to this project")
    if body["environmentId"] not in platform.environments:
        raise RefusedError(404, f"Environment {body['environmentId']} does not exist")
    return {key: body[theirs] for key, theirs in FIELDS.items()}


FIELDS: Final = {
    "file": "file",
    "function": "function",
    "environment_id": "environmentId",
    "description": "description",
}


def versions(platform: Platform, request: Request) -> Answer:
    """Return the versions, newest first."""
    model = platform.live(request.variables["id"])
    return Answer.of({"data": [version_document(model, one) for one in reversed(model.versions)]})


def version_document(model: ModelApi, found: Version) -> Json:
    build = {
        "buildId": {"value": found.id},
        "slug": {"image": {"repository": "dominodatalab/model", "tag": f"{model.id}-v{found.number}"}},
    }
    metadata = {
        "createdBy": "62ab876e030b0306f5095bcb",
        "created": found.created,
        "number": found.number,
        "builds": [build],
    }
    return {
        "_id": found.id,
        "modelId": {"value": model.id},
        "projectId": model.project_id,
        "commitId": "7e831d4ed018b2c094408f874b3ecbe92baa1143",
        "file": found.file,
        "function": found.function,
        "excludeFiles": [],
        "environmentRevisionId": found.environment_id,
        "metadata": metadata | ({"summary": found.description} if found.description else {}),
        "logHttpRequestResponse": False,
        "recordInvocation": True,
        "monitoringEnabled": False,
    }


def details(platform: Platform, request: Request) -> Answer:
    model = platform.live(request.variables["id"])
    return Answer.of([{"modelVersionId": one.id, "status": one.status} for one in reversed(model.versions)])


def build_status(platform: Platform, request: Request) -> Answer:
    model = platform.live(request.variables["id"])
    found = model.version(request.variables["version"])
    status = {"Building": "building", "Failed": "failed"}.get(found.status, "complete")
    return Answer.of({"modelId": model.id, "modelVersionId": found.id, "status": status})


def active_status(platform: Platform, request: Request) -> Answer:
    model = platform.live(request.variables["id"])
    active = model.active
    ids = {"modelId": {"value": model.id}, "modelVersionId": {"value": active.id}}
    return Answer.of(ids | {"status": active.status, "operations": [], "isPending": active.pending})


def add_variables(platform: Platform, request: Request) -> Answer:
    entries = request.document.get("vars")
    if not isinstance(entries, list) or not all(
        isinstance(one, dict) and {"name", "value"} <= one.keys() for one in entries
    ):
        raise RefusedError(400, "Invalid Json: obj.vars is missing")
    platform.set_variables(request.variables["id"], {one["name"]: one["value"] for one in entries})
    return Answer.of({})


def stop(platform: Platform, request: Request) -> Answer:
    """Stop a version; one that does not run cannot be stopped, so that this is not idempotent."""
    model_id, version_id = request.variables["id"], request.variables["version"]
    if platform.live(model_id).version(version_id).status != RUNNING:
        raise RefusedError(400, "The model version is not running")
    platform.stop(model_id, version_id)
    return Answer.of({"modelId": model_id, "modelVersionId": version_id, "status": "not_running"})


ROUTES: Final = (
    Route("GET", "/version", version),
    Route("GET", "/v4/modelManager/getModels", models),
    Route("GET", "/v4/modelManager/<id>/getModelReproductionDetails", details),
    Route("POST", "/v1/models", publish),
    Route("GET", "/v1/models/<id>/versions", versions),
    Route("POST", "/v1/models/<id>/versions", publish_version),
    Route("GET", "/v4/models/<id>/<version>/getBuildStatus", build_status),
    Route("POST", "/v4/models/<id>/<version>/stopModelDeployment", stop),
    Route("GET", "/models/<id>/activeStatus", active_status),
    Route("POST", "/models/<id>/environmentVariables/add", add_variables),
)
