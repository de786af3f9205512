"""Domino's API before the public one: the routes of python-domino 2.2, and private routes beside them.

A model API is made without variables here, so its first version starts without a model. They are added next, and a
second version starts with them. The description tells the second version from the first.
"""

from typing import Any
from urllib.parse import quote

from model_lifecycle.domino.model_apis import ModelApiSpec, ModelApiVersion, State
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import NotFoundError

Json = dict[str, Any]


class OlderModelApis:
    """The older API. Each step of a publication is first looked for, so that an interrupted publication goes on."""

    title = "the model API of python-domino 2.2"

    def __init__(self, rest: DominoRest) -> None:
        self._rest = rest

    @staticmethod
    def answers(rest: DominoRest) -> bool:
        return rest.has("/version")

    def find(self, spec: ModelApiSpec) -> ModelApiVersion | None:
        """Return None also if no version has its variables yet: `publish` goes on with the model API that is there."""
        model_id = self._model(spec)
        version_id = self._version(model_id, spec) if model_id else None
        return self.read_version(model_id, version_id) if model_id and version_id else None

    def publish(self, spec: ModelApiSpec) -> ModelApiVersion:
        model_id = self._model(spec) or self._make(spec)
        variables = [{"name": name, "value": value} for name, value in spec.variables.items()]
        self._rest.change("POST", f"/models/{_segment(model_id)}/environmentVariables/add", {"vars": variables})
        return self.publish_again(model_id, spec)

    def publish_again(self, model_id: str, spec: ModelApiSpec) -> ModelApiVersion:
        body = _body(spec) | {"description": spec.description}
        made = self._rest.change("POST", f"/v1/models/{_segment(model_id)}/versions", body)
        return ModelApiVersion(model_id=model_id, version_id=str(made["id"]), state=State.PENDING)

    def read_version(self, model_id: str, version_id: str) -> ModelApiVersion:
        for one in self._rest.get(f"/v4/modelManager/{_segment(model_id)}/getModelReproductionDetails"):
            if one.get("modelVersionId") == version_id:
                status = str(one.get("status") or "")
                return ModelApiVersion(
                    model_id=model_id, version_id=version_id, state=State.of(status), status_text=status
                )
        raise NotFoundError(f"the model API {model_id} has no version {version_id}")

    def log(self, model_id: str, version_id: str) -> str:
        """Return no text: there is no route for the log."""
        return ""

    def archive(self, model_id: str) -> None:
        """Stop the running versions: there is no route that archives a model API."""
        for one in self._rest.get(f"/v4/modelManager/{_segment(model_id)}/getModelReproductionDetails"):
            if State.of(str(one.get("status") or "")) is State.RUNNING:
                self._rest.change(
                    "POST", f"/v4/models/{_segment(model_id)}/{_segment(one['modelVersionId'])}/stopModelDeployment"
                )

    def _model(self, spec: ModelApiSpec) -> str | None:
        """Return the id of the project's model API; of two with the same name, each caller takes the older one."""
        wanted = (spec.name, spec.description)
        models = self._rest.get("/v4/modelManager/getModels", projectId=spec.project_id)
        return min(
            (str(model["id"]) for model in models if (model.get("name"), model.get("description")) == wanted),
            default=None,
        )

    def _make(self, spec: ModelApiSpec) -> str:
        made = self._rest.change("POST", "/v1/models", _body(spec) | {"name": spec.name})
        return str(made["data"]["_id"])

    def _version(self, model_id: str, spec: ModelApiSpec) -> str | None:
        """Return the newest version that was published with the variables."""
        versions = self._rest.get(f"/v1/models/{_segment(model_id)}/versions").get("data") or []
        ours = [one for one in versions if one.get("metadata", {}).get("summary") == spec.description]
        newest = max(ours, key=lambda one: int(one["metadata"].get("number") or 0), default=None)
        return str(newest["_id"]) if newest else None


def _body(spec: ModelApiSpec) -> Json:
    return {
        "projectId": spec.project_id,
        "environmentId": spec.environment_id,
        "description": spec.description,
        "file": spec.file,
        "function": spec.function,
        "excludeFiles": [],
    }


def _segment(text: str) -> str:
    return quote(str(text), safe="")
