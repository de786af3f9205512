"""Domino 6's public API of model APIs, `/api/modelServing/v1/modelApis`, with the shapes of its description."""

from typing import Any, Final

from testbed.domino.platform import Platform
from testbed.domino.records import ModelApi, Version
from testbed.domino.routing import Answer, RefusedError, Request, Route, known, required

Json = dict[str, Any]
PAGE: Final = 10  # what comes without a limit
MODEL_FIELDS: Final = (
    "name",
    "description",
    "environmentId",
    "environmentVariables",
    "isAsync",
    "strictNodeAntiAffinity",
    "version",
)
MODEL_OPTIONS: Final = ("hardwareTierId", "resourceQuotaId", "replicas", "bundleId")
VERSION_FIELDS: Final = ("projectId", "monitoringEnabled", "logHttpRequestResponse", "source")
VERSION_OPTIONS: Final = (
    "commitId",
    "shouldDeploy",
    "environmentId",
    "description",
    "recordInvocation",
    "provenanceCheckpointId",
    "predictionDatasetResourceId",
)
UPDATE_FIELDS: Final = ("description", "environmentId", "name", "replicas", "hardwareTierId", "resourceQuotaId")


def create(platform: Platform, request: Request) -> Answer:
    body = request.document
    required(body, MODEL_FIELDS)
    known(body, MODEL_FIELDS + MODEL_OPTIONS)
    version = version_fields(platform, body["version"], body["environmentId"])
    variables = dict(variable(entry, platform.variable_key) for entry in body["environmentVariables"])
    if any(
        model.name == body["name"] and not model.archived for model in platform.of_project(body["version"]["projectId"])
    ):
        raise RefusedError(409, f"A Model API with name {body['name']} already exists")
    model = platform.create(
        name=body["name"],
        description=body["description"],
        environment_id=body["environmentId"],
        project_id=body["version"]["projectId"],
        variables=variables,
        version=version,
    )
    return Answer.of(model_document(request, model), 201)


def variable(entry: Json, key: str) -> tuple[str, str]:
    required(entry, (key, "value"), "environmentVariables.")
    known(entry, (key, "value"), "environmentVariables.")
    return entry[key], entry["value"]


def version_fields(platform: Platform, version: Json, environment: str) -> Json:
    required(version, VERSION_FIELDS, "version.")
    known(version, VERSION_FIELDS + VERSION_OPTIONS, "version.")
    source = version["source"]
    if source.get("type") != "File":
        raise RefusedError(
            400, "version.source.type must be one of File, Registry; Registry is not part of this installation"
        )
    required(source, ("file", "function"), "version.source.")
    if version["projectId"] not in platform.projects:
        raise RefusedError(403, "You do not have access to this project")
    environment = version.get("environmentId") or environment
    if environment not in platform.environments:
        raise RefusedError(404, f"Environment {environment} does not exist")
    return {
        "file": source["file"],
        "function": source["function"],
        "environment_id": environment,
        "description": version.get("description", ""),
        "deploy": version.get("shouldDeploy", True),
    }


def list_(platform: Platform, request: Request) -> Answer:
    offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", PAGE))
    found = platform.of_project(request.query.get("projectId"))
    items = [model_document(request, model) for model in found[offset : offset + limit]]
    return Answer.of(
        {"items": items, "metadata": {"pagination": {"offset": offset, "limit": limit, "totalCount": len(found)}}}
    )


def get(platform: Platform, request: Request) -> Answer:
    return Answer.of(model_document(request, platform.records.get(request.variables["id"])))


def update(platform: Platform, request: Request) -> Answer:
    """Change a model API; its variables cannot be changed."""
    body = request.document
    known(body, UPDATE_FIELDS)
    changes = {
        ours: body[theirs] for ours, theirs in (("name", "name"), ("description", "description")) if theirs in body
    }
    return Answer.of(model_document(request, platform.records.change(request.variables["id"], **changes)))


def delete(platform: Platform, request: Request) -> Answer:
    platform.archive(request.variables["id"])
    return Answer(status=204, body=b"")


def create_version(platform: Platform, request: Request) -> Answer:
    model = platform.live(request.variables["id"])
    version = platform.publish(model.id, **version_fields(platform, request.document, model.environment_id))
    return Answer.of(version_document(model, version), 201)


def list_versions(platform: Platform, request: Request) -> Answer:
    model = platform.records.get(request.variables["id"])
    return Answer.of({"items": [version_document(model, version) for version in reversed(model.versions)]})


def get_version(platform: Platform, request: Request) -> Answer:
    model = platform.records.get(request.variables["id"])
    return Answer.of(version_document(model, model.version(request.variables["version"])))


def logs(platform: Platform, request: Request) -> Answer:
    model = platform.records.get(request.variables["id"])
    version = model.version(request.variables["version"])
    lines = [{"log": line, "streamType": "stdout", "tags": [], "timeNano": 0, "timestamp": 0} for line in version.log]
    return Answer.of({"modelId": model.id, "modelVersionId": version.id, "status": version.status, "logs": lines})


def model_document(request: Request, model: ModelApi) -> Json:
    active = model.active
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "environmentId": model.environment_id,
        "isArchived": model.archived,
        "isAsync": False,
        "replicas": 1,
        "routingMode": "basic",
        "strictNodeAntiAffinity": False,
        "volumes": [],
        "collaborators": [],
        "access": {"isPublic": False, "accessTokens": []},
        "healthCheck": {"initialDelaySeconds": 300, "periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 10},
        "metadata": {"created": model.created, "createdBy": "62ab876e030b0306f5095bcb", "lastModified": model.created},
        "url": f"http://{request.headers.get('host', '')}/models/{model.id}/latest/model",
        "activeVersion": {
            "id": active.id,
            "number": active.number,
            "dataPlaneId": "local",
            "deployment": deployment(active),
        },
    }


def version_document(model: ModelApi, version: Version) -> Json:
    return {
        "id": version.id,
        "number": version.number,
        "modelApiId": model.id,
        "projectId": model.project_id,
        "description": version.description,
        "commitId": "7e831d4ed018b2c094408f874b3ecbe92baa1143",
        "dataPlaneId": "local",
        "environmentRevisionId": version.environment_id,
        "labels": [],
        "logHttpRequestResponse": False,
        "monitoringEnabled": False,
        "recordInvocation": False,
        "metadata": {"created": version.created, "createdBy": "62ab876e030b0306f5095bcb"},
        "source": {"type": "File", "file": version.file, "function": version.function, "excludeFiles": []},
        "deployment": deployment(version),
    }


def deployment(version: Version) -> Json:
    return {"isPending": version.pending, "status": version.status}


BASE: Final = "/api/modelServing/v1/modelApis"
ROUTES: Final = (
    Route("GET", BASE, list_),
    Route("POST", BASE, create),
    Route("GET", f"{BASE}/<id>", get),
    Route("PUT", f"{BASE}/<id>", update),
    Route("DELETE", f"{BASE}/<id>", delete),
    Route("GET", f"{BASE}/<id>/versions", list_versions),
    Route("POST", f"{BASE}/<id>/versions", create_version),
    Route("GET", f"{BASE}/<id>/versions/<version>", get_version),
    Route("GET", f"{BASE}/<id>/versions/<version>/buildLogs", logs),
    Route("GET", f"{BASE}/<id>/versions/<version>/instanceLogs", logs),
)
