"""The model that a Deployment or an InferenceService serves, and the patches that change it. It sends no request.

A workload's *state* is what a rollout changes of it: the four variables of a Deployment's container, or the storage URI
of an InferenceService. A value is None if the workload does not have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from lightkube.types import PatchType

from model_contract.model_ref import ContractError, ModelRef
from model_contract.names import MODEL_NAME, MODEL_OWNER, MODEL_VARIABLES
from model_lifecycle.errors import InvalidError, PreconditionError
from model_lifecycle.rollout.desired_version import DesiredVersion

Json = dict[str, Any]
State = Mapping[str, str | None]

STORAGE_URI: Final = "storageUri"
SCHEME: Final = "mlflow://"
CANARY: Final = "canary"  # name of the canary's predictor: KServe makes <name>-canary-predictor of it
# KServe 0.20 writes the URI on the template of the pods (pkg/constants/constants.go).
SOURCE_ANNOTATION: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
# Names of KServe's mode without Knative: the second before 0.16.
STANDARD_MODES: Final = ("Standard", "RawDeployment")


class Workload(Protocol):
    """A workload as it was read, and the part of it that a rollout changes."""

    @property
    def patch_type(self) -> PatchType:
        """Kind of the patch: the API server knows the lists of a Deployment, and none of a custom resource."""

    @property
    def deployment(self) -> str:
        """Name of the Deployment whose pods serve."""

    def state(self) -> State:
        """Return the present state. Raises PreconditionError if it is nothing that a rollout can change."""

    def state_of(self, desired: DesiredVersion) -> State:
        """Return the state in which the workload serves this version. Raises LifecycleError."""

    def patch_to(self, state: State) -> Json:
        """Return the patch that brings the workload into this state."""

    def pods_serve(self, template: Json, state: State) -> bool:
        """Return True for a pod, or the template of pods, of this state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentWorkload:
    """A Deployment. One container of it has the four variables; `container` is its name if there are several."""

    document: Json
    container: str | None = None
    patch_type: PatchType = PatchType.STRATEGIC

    @property
    def deployment(self) -> str:
        return str(self.document["metadata"]["name"])

    def state(self) -> State:
        if self.document["spec"].get("paused"):
            raise PreconditionError(f"deployment/{self.deployment} is paused: run kubectl rollout resume first")
        return _variables(self._serving_container())

    def state_of(self, desired: DesiredVersion) -> State:
        present = self.state()
        if present[MODEL_NAME] != desired.name:
            raise PreconditionError(
                f"deployment/{self.deployment} serves {present[MODEL_NAME]!r}, and not {desired.name!r}: a rollout"
                " changes the version of a model only"
            )
        owner = present[MODEL_OWNER] or desired.owner
        if not owner:
            raise InvalidError(f"the owner of {desired} is not known: set {MODEL_OWNER} in the Deployment once")
        try:
            ref = ModelRef(name=desired.name, version=desired.version, owner=owner, run_id=desired.run_id)
        except ContractError as error:
            raise InvalidError(str(error)) from error
        return ref.variables()

    def patch_to(self, state: State) -> Json:
        variables: list[Json] = [
            {"name": name, "$patch": "delete"} if value is None else {"name": name, "value": value}
            for name, value in state.items()
        ]
        container = {"name": self._serving_container()["name"], "env": variables}
        return {"spec": {"template": {"spec": {"containers": [container]}}}}

    def pods_serve(self, template: Json, state: State) -> bool:
        name = self._serving_container()["name"]
        found = next((one for one in template["spec"]["containers"] if one["name"] == name), None)
        return found is not None and all(_variable(found, key) == value for key, value in state.items())

    def _serving_container(self) -> Json:
        """Return the container with the variables. Raises PreconditionError if it is not one."""
        containers: list[Json] = self.document["spec"]["template"]["spec"]["containers"]
        named = [
            one
            for one in containers
            if (self.container in {None, one["name"]}) and any(e["name"] == MODEL_NAME for e in one.get("env", []))
        ]
        if len(named) == 1:
            return named[0]
        what = "several containers have" if named else "no container has"
        raise PreconditionError(
            f"{what} the variable {MODEL_NAME} in deployment/{self.deployment}"
            + (": name one with --container" if named else "; a rollout changes the four variables of a model API")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceServiceWorkload:
    """An InferenceService of KServe in its Standard mode: its predictor, or with `canary` a second one, the canary."""

    document: Json
    canary: bool = False
    percent: int = 0
    patch_type: PatchType = PatchType.MERGE

    @property
    def deployment(self) -> str:
        name = self.document["metadata"]["name"]
        own = self.document["spec"]["predictor"].get("name")
        parts = (name, CANARY if self.canary else own, "predictor")
        return "-".join(part for part in parts if part)

    def state(self) -> State:
        self._check_mode()
        predictor = self._canary() if self.canary else self.document["spec"]["predictor"]
        uri = predictor.get("model", {}).get(STORAGE_URI)
        if uri is None and self.canary:
            return {STORAGE_URI: None}
        if uri is None or not uri.startswith(SCHEME):
            raise PreconditionError(
                f"the model of {self._title} has the {STORAGE_URI} {uri!r:.200}: a rollout changes one that begins"
                f" with {SCHEME}"
            )
        return {STORAGE_URI: uri}

    def state_of(self, desired: DesiredVersion) -> State:
        uri = f"{SCHEME}{quote(desired.name, safe='')}/{desired.version}"
        return {STORAGE_URI: f"{uri}?digest={desired.digest}" if desired.digest else uri}

    def patch_to(self, state: State) -> Json:
        uri = state[STORAGE_URI]
        if not self.canary:
            # A canary that waited for this change has served its purpose; another's is left alone.
            canaries = [one for one in self._canaries() if one["predictor"].get("name") != CANARY]
            change: Json = {"predictor": {"model": {STORAGE_URI: uri}}}
            return {"spec": change | ({"canary": canaries or None} if len(canaries) < len(self._canaries()) else {})}
        others = [one for one in self._canaries() if one["predictor"].get("name") != CANARY]
        if uri is None:
            return {"spec": {"canary": others or None}}
        model = self.document["spec"]["predictor"]["model"] | {STORAGE_URI: uri}
        own = {"predictor": {"name": CANARY, "minReplicas": 1, "model": model}, "trafficPercent": self.percent}
        return {"spec": {"canary": [*others, own]}}

    def pods_serve(self, template: Json, state: State) -> bool:
        return bool(template["metadata"].get("annotations", {}).get(SOURCE_ANNOTATION) == state[STORAGE_URI])

    @property
    def _title(self) -> str:
        return f"inferenceservice/{self.document['metadata']['name']}"

    def _canaries(self) -> list[Json]:
        return list(self.document["spec"].get("canary") or [])

    def _canary(self) -> Json:
        own = (one["predictor"] for one in self._canaries() if one["predictor"].get("name") == CANARY)
        return next(own, {})

    def _check_mode(self) -> None:
        mode = self.document.get("status", {}).get("deploymentMode") or STANDARD_MODES[0]
        if mode not in STANDARD_MODES:
            raise PreconditionError(
                f"{self._title} is in KServe's mode {mode}; a rollout needs {STANDARD_MODES[0]}, in which a"
                " Deployment serves"
            )


def _variables(container: Json) -> State:
    """Return the four variables. Raises PreconditionError if one comes by a reference."""
    for entry in container.get("env", []):
        if entry["name"] in MODEL_VARIABLES and "valueFrom" in entry:
            raise PreconditionError(
                f"{entry['name']} comes from another object (valueFrom): a rollout changes variables with a value"
            )
    return {name: _variable(container, name) for name in MODEL_VARIABLES}


def _variable(container: Json, name: str) -> str | None:
    """Return the value; of several entries the kubelet takes the last."""
    found: str | None = None
    for entry in container.get("env", []):
        if entry["name"] == name:
            found = entry.get("value", "")
    return found
