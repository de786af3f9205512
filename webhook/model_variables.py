"""The model that one container asks for, by its four `MLFLOW_*` variables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from model_contract.layout import model_path
from model_contract.model_ref import MLFLOW_RUN_ID_PATTERN, InvalidVariableError, ModelRef, shown, validate
from model_contract.names import ARTIFACTS_PATH, MODEL_NAME, MODEL_OWNER, MODEL_VARIABLES, MODEL_VERSION, RUN_ID
from webhook.decision import RefusalError
from webhook.environment import escaped, read_environment, references_in, source_entries
from webhook.pod import Container, MalformedPodError
from webhook.reasons import Reason

Json = Mapping[str, Any]

SUPPORTED_REFERENCES: Final = ("secretKeyRef", "configMapKeyRef", "fieldRef")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVariables:
    """The four variables of a container. Two containers with equal variables ask for the same model.

    `values` are given by value, `references` by `valueFrom`; `sources` holds, for a variable that `env` does not name,
    the entries that read it from a source of `envFrom`. `fallbacks` are such entries for a variable by an optional
    reference: without its key, the kubelet leaves the variable as `envFrom` has it.
    """

    values: Mapping[str, str]
    references: Mapping[str, Json]
    sources: Mapping[str, Sequence[Json]]
    fallbacks: Mapping[str, Sequence[Json]] = field(default_factory=dict, compare=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """The variables for which `env` has no value and no reference."""
        return tuple(
            variable for variable in MODEL_VARIABLES if variable not in self.values and variable not in self.references
        )

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def completed_by_env_from(self) -> bool:
        """True if `envFrom` may hold every variable that `env` does not give."""
        return all(variable in self.sources for variable in self.missing)

    @property
    def model(self) -> ModelRef | None:
        """The model; None unless all four variables are given by value."""
        values = self.values
        if len(values) != len(MODEL_VARIABLES):
            return None
        return _model(values[MODEL_NAME], values[MODEL_VERSION], values[MODEL_OWNER], values[RUN_ID])

    @property
    def owner_and_run_id(self) -> tuple[str, str] | None:
        """Owner and run id; None unless both are given by value."""
        owner, run_id = self.values.get(MODEL_OWNER), self.values.get(RUN_ID)
        return (owner, run_id) if owner and run_id else None

    @property
    def unusual_run_id(self) -> bool:
        """True if the run id is valid, but not one that MLflow generates."""
        return RUN_ID in self.values and not MLFLOW_RUN_ID_PATTERN.fullmatch(self.values[RUN_ID])

    def entries(self) -> list[Json]:
        """Return the `env` entries that give the variables to the init container."""
        return [entry for variable in MODEL_VARIABLES for entry in self._entries(variable)]

    def _entries(self, variable: str) -> Sequence[Json]:
        if variable in self.values:
            return [{"name": variable, "value": escaped(self.values[variable])}]
        if variable in self.references:
            return [{"name": variable, "valueFrom": self.references[variable]}, *self.fallbacks.get(variable, ())]
        return self.sources[variable]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A container that may get a model, and its model variables; equal to itself alone.

    `names_variables` is true if `env` names one of the four variables, even an empty one. `artifacts_path` is the path
    that the container sets itself: empty if it comes by reference, None if it sets none.
    """

    container: Container
    model_variables: ModelVariables
    names_variables: bool
    artifacts_path: str | None

    @classmethod
    def of(cls, container: Container) -> "Candidate":
        environment = read_environment(container, (*MODEL_VARIABLES, ARTIFACTS_PATH))
        model_variables = ModelVariables(
            values={name: value for name, value in environment.values.items() if name != ARTIFACTS_PATH},
            references={
                name: reference for name, reference in environment.references.items() if name != ARTIFACTS_PATH
            },
            sources=_sources(container, environment.unnamed),
            fallbacks=_sources(container, _optional(environment.references)),
        )
        return cls(
            container=container,
            model_variables=model_variables,
            names_variables=any(variable not in environment.unnamed for variable in MODEL_VARIABLES),
            artifacts_path="" if ARTIFACTS_PATH in environment.references else environment.values.get(ARTIFACTS_PATH),
        )

    def sets_other_path(self, model_variables: ModelVariables) -> bool:
        """Return True if the container sets another path than that of the model of `model_variables`."""
        return self.artifacts_path is not None and self.artifacts_path != _mount_path(model_variables)

    def check_variables(self) -> None:
        """Raise RefusalError if a value is invalid, or if a reference cannot be copied to the init container."""
        for variable, value in self.model_variables.values.items():
            self._check_value(variable, value)
            try:
                validate(variable, value)
            except InvalidVariableError as error:
                raise RefusalError(Reason[error.code.upper()], f"container {self.container.title}: {error}") from None
        for variable, reference in self.model_variables.references.items():
            self._check_reference(variable, reference)

    def _check_value(self, variable: str, value: str) -> None:
        """Raise RefusalError if the kubelet may put the value of a Secret, a ConfigMap or a field into this one."""
        if not (names := references_in(value)):
            return
        unread = {entry["name"] for entry in self.container.env_references}
        if found := next((name for name in names if self.container.env_from or name in unread), None):
            raise RefusalError(
                Reason.UNSUPPORTED_VALUE_FROM,
                f"container {self.container.title}: {variable} refers to {shown(f'$({found})')}, whose value the"
                f" webhook does not see; give {variable} itself by valueFrom or envFrom",
            )

    def _check_reference(self, variable: str, reference: Json) -> None:
        kinds = [kind for kind, content in reference.items() if content is not None]
        if unsupported := next((kind for kind in kinds if kind not in SUPPORTED_REFERENCES), None):
            raise RefusalError(
                Reason.UNSUPPORTED_VALUE_FROM,
                f"container {self.container.title}: {variable} comes from {shown(unsupported)}; use"
                f" {', '.join(SUPPORTED_REFERENCES)}",
            )
        if len(kinds) != 1 or not isinstance(reference[kinds[0]], dict):
            raise MalformedPodError(f"valueFrom of {variable} is not one reference")


@lru_cache(maxsize=1024)  # several parts of the mutation ask for it
def _model(name: str, version: str, owner: str, run_id: str) -> ModelRef:
    return ModelRef(name=name, version=version, owner=owner, run_id=run_id)


def _optional(references: Mapping[str, Json]) -> frozenset[str]:
    return frozenset(
        variable
        for variable, reference in references.items()
        if any(isinstance(content, dict) and content.get("optional") is True for content in reference.values())
    )


def _sources(container: Container, variables: frozenset[str]) -> dict[str, Sequence[Json]]:
    found = {variable: source_entries(container, variable) for variable in MODEL_VARIABLES if variable in variables}
    return {variable: entries for variable, entries in found.items() if entries}


def _mount_path(model_variables: ModelVariables) -> str | None:
    return model_path(*model_variables.owner_and_run_id) if model_variables.owner_and_run_id else None
