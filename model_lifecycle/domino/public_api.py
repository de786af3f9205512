"""The public model API of Domino 6."""

import contextlib
from typing import Any, Final
from urllib.parse import quote

from model_lifecycle.domino.model_apis import ModelApiSpec, ModelApiVersion, State
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import InvalidError, LifecycleError, NotFoundError

Json = dict[str, Any]
BASE: Final = "/api/modelServing/v1/modelApis"
PAGE: Final = 100
MOST_PAGES: Final = 1000
LOG_LINES: Final = 5
# Domino's published examples disagree about the key; a request with the wrong one is refused before anything is made.
VARIABLE_KEYS: Final = ("name", "key")


class PublicModelApis:
    """The public API. Variables are given when a model API is made, and cannot be changed afterwards."""

    title = "the public model API"

    def __init__(self, rest: DominoRest) -> None:
        self._rest = rest

    @staticmethod
    def answers(rest: DominoRest) -> bool:
        """Return True if this Domino has the API."""
        return rest.has(BASE, limit=1)

    def find(self, spec: ModelApiSpec) -> ModelApiVersion | None:
        wanted = (spec.name, spec.description, False)
        found = [
            model
            for model in self._all(spec.project_id)
            if (model["name"], model["description"], model["isArchived"]) == wanted
        ]
        if not found:
            return None
        # Ids grow: of two model APIs with the same name, each caller takes the older one.
        model = min(found, key=lambda one: str(one["id"]))
        versions = self._rest.get(f"{BASE}/{_segment(model['id'])}/versions").get("items") or []
        newest = max(versions, key=lambda one: int(one.get("number") or 0), default=None)
        return _version_of_answer(model["id"], newest or model["activeVersion"], model.get("url"))

    def publish(self, spec: ModelApiSpec) -> ModelApiVersion:
        for key in VARIABLE_KEYS:
            try:
                made = self._rest.change("POST", BASE, _creation(spec, key))
            except InvalidError:
                if key == VARIABLE_KEYS[-1]:
                    raise
                continue
            if version := made.get("activeVersion"):
                return _version_of_answer(made["id"], version, made.get("url"))
            break
        found = self.find(spec)  # the answer does not name the version
        if found is None:
            raise NotFoundError(f"Domino has made the model API {spec.name!r}, and does not list it; try again")
        return found

    def publish_again(self, model_id: str, spec: ModelApiSpec) -> ModelApiVersion:
        made = self._rest.change("POST", f"{BASE}/{_segment(model_id)}/versions", _version(spec))
        return _version_of_answer(model_id, made, None)

    def read_version(self, model_id: str, version_id: str) -> ModelApiVersion:
        model = self._rest.get(f"{BASE}/{_segment(model_id)}")
        if model.get("isArchived"):
            raise NotFoundError(f"the model API {model_id} is archived")
        version = self._rest.get(f"{BASE}/{_segment(model_id)}/versions/{_segment(version_id)}")
        return _version_of_answer(model_id, version, model.get("url"))

    def log(self, model_id: str, version_id: str) -> str:
        with contextlib.suppress(LifecycleError):
            found = self._rest.get(f"{BASE}/{_segment(model_id)}/versions/{_segment(version_id)}/buildLogs")
            lines = [str(line.get("log", "")) for line in found.get("logs", [])]
            return self._rest.access.redacted("\n".join(lines[-LOG_LINES:]))
        return ""

    def archive(self, model_id: str) -> None:
        self._rest.change("DELETE", f"{BASE}/{_segment(model_id)}")

    def _all(self, project_id: str) -> list[Json]:
        found: list[Json] = []
        for _ in range(MOST_PAGES):
            page = self._rest.get(BASE, projectId=project_id, offset=len(found), limit=PAGE).get("items") or []
            if not page:
                break
            found += page
        return found


def _creation(spec: ModelApiSpec, variable_key: str) -> Json:
    return {
        "name": spec.name,
        "description": spec.description,
        "environmentId": spec.environment_id,
        "environmentVariables": [{variable_key: name, "value": value} for name, value in spec.variables.items()],
        "isAsync": False,
        "strictNodeAntiAffinity": False,
        "version": _version(spec),
    }


def _version(spec: ModelApiSpec) -> Json:
    return {
        "projectId": spec.project_id,
        "environmentId": spec.environment_id,
        "description": spec.description,
        "monitoringEnabled": False,
        "logHttpRequestResponse": False,
        "shouldDeploy": True,
        "source": {"type": "File", "file": spec.file, "function": spec.function},
    }


def _version_of_answer(model_id: str, version: Json, url: str | None) -> ModelApiVersion:
    status = str((version.get("deployment") or {}).get("status") or "")
    return ModelApiVersion(
        model_id=str(model_id), version_id=str(version["id"]), state=State.of(status), status_text=status, url=url
    )


def _segment(text: str) -> str:
    return quote(str(text), safe="")
