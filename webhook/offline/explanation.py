"""The explanation of a decision as data: every rule, every container, the decision. `commands.tables` prints it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from model_contract.names import ARTIFACTS_PATH, INIT_CONTAINER, MODEL_VARIABLES
from webhook.annotations import read_annotations
from webhook.decision import Decision, ModelImage
from webhook.injectors import NEVER_TARGETS
from webhook.model_variables import Candidate
from webhook.offline.injected_objects import decision_about
from webhook.offline.workloads import Workload
from webhook.pod import Field, MalformedPodError, Pod
from webhook.reasons import Reason
from webhook.selection import evaluate, first_failure
from webhook.settings import Settings
from webhook.targets import choose_targets

KINDS: Final = {
    Field.CONTAINERS: "container",
    Field.INIT_CONTAINERS: "init container",
    Field.EPHEMERAL_CONTAINERS: "ephemeral container",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRule:
    """One rule of the selection, with its result for the pod. `passed` is None if the file does not tell."""

    name: str
    where: str
    text: str
    passed: bool | None
    code: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFinding:
    """The four variables of a container: each a value, `from <reference>`, `perhaps in envFrom`, or empty.

    `kind` is a container, an init container, a native sidecar or an ephemeral container; `model` is `mounted`, or the
    reason why the container gets none.
    """

    name: str
    kind: str
    variables: Mapping[str, str]
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    workload: Workload
    rules: Sequence[ExplainedRule]
    containers: Sequence[ContainerFinding]
    decision: Decision

    def as_json(self) -> dict[str, Any]:
        """Return the explanation for `--output json`; scripts rely on the names of the keys."""
        reason = self.decision.reason
        return {
            "object": self.workload.title,
            "rules": [
                {
                    "name": rule.name,
                    "where": rule.where,
                    "must": rule.text,
                    "passed": rule.passed,
                    "code": rule.code,
                    "rule": rule.rule,
                }
                for rule in self.rules
            ],
            "containers": [
                {"name": found.name, "kind": found.kind, "variables": dict(found.variables), "model": found.model}
                for found in self.containers
            ],
            "decision": {
                "outcome": reason.outcome.value,
                "code": reason.value,
                "rule": reason.rule,
                "message": self.decision.message,
                "warnings": list(self.decision.warnings),
                "remedy": reason.remedy,
                "image": _image_as_json(self.decision.image),
                "patch": list(self.decision.operations),
            },
        }


def _image_as_json(image: ModelImage | None) -> dict[str, Any] | None:
    if not image:
        return None
    return {"reference": str(image.reference), "pinned": image.pinned, "source": image.source}


def explain(workload: Workload, settings: Settings, *, labels: Mapping[str, Any] | None) -> Explanation:
    """Explain the decision about the pod of `workload`. `labels` are those of its namespace, None if unknown."""
    results = evaluate(workload.pod, workload.namespace, labels, settings)
    failed = first_failure(results)
    decision = Decision(reason=failed) if failed else decision_about(workload, settings)
    return Explanation(
        workload=workload,
        rules=[
            ExplainedRule(
                name=result.rule.name,
                where=result.rule.part.value,
                text=result.rule.text,
                passed=result.passed,
                code=result.rule.reason.value,
                rule=result.rule.reason.rule,
            )
            for result in results
        ],
        containers=_findings(workload.pod, settings, decision),
        decision=decision,
    )


def _findings(raw: Mapping[str, Any], settings: Settings, decision: Decision) -> list[ContainerFinding]:
    """Return the pod's containers, and the other containers that name a variable or get the model."""
    try:
        pod = Pod.read(raw)
        served = (
            _served(pod, settings) if decision.reason in {Reason.INJECTED, Reason.ALREADY_INJECTED} else frozenset()
        )
        candidates = [
            Candidate.of(container) for container in (*pod.containers, *pod.init_containers, *pod.ephemeral_containers)
        ]
    except MalformedPodError:
        return []  # the decision says what is wrong
    return [_finding(candidate, served) for candidate in candidates if _is_shown(candidate, served)]


def _served(pod: Pod, settings: Settings) -> frozenset[str]:
    """Return the JSON pointers of the containers that get the model."""
    return frozenset(container.pointer for container in choose_targets(pod, read_annotations(pod), settings).containers)


def _is_shown(candidate: Candidate, served: frozenset[str]) -> bool:
    container = candidate.container
    return (
        container.field is Field.CONTAINERS
        or candidate.names_variables
        or bool(candidate.model_variables.sources)
        or container.pointer in served
    )


def _finding(candidate: Candidate, served: frozenset[str]) -> ContainerFinding:
    container = candidate.container
    return ContainerFinding(
        name=container.title,
        kind="native sidecar" if container.native_sidecar else KINDS[container.field],
        variables={name: _variable_text(candidate, name) for name in MODEL_VARIABLES},
        model="mounted" if container.pointer in served else _reason_without_model(candidate),
    )


def _reason_without_model(candidate: Candidate) -> str:
    """Return the reason why the container gets no model, if the container itself is the cause."""
    container, model_variables = candidate.container, candidate.model_variables
    if container.field is Field.EPHEMERAL_CONTAINERS:
        return "none: it is added after the pod's admission"
    if container.name == INIT_CONTAINER:
        return "brings it"
    if container.field is Field.INIT_CONTAINERS and container.name in NEVER_TARGETS:
        return "none: it belongs to a mesh or another injector"
    if model_variables.complete and candidate.sets_other_path(model_variables):
        return f"none: it sets {ARTIFACTS_PATH} itself"
    if model_variables.complete:
        return "none: see the decision, or the annotation containers"
    if not candidate.names_variables:
        return (
            "none: envFrom was not looked at"
            if model_variables.completed_by_env_from
            else "none: it does not ask for one"
        )
    return f"none: {', '.join(model_variables.missing)} not set"


def _variable_text(candidate: Candidate, variable: str) -> str:
    model_variables = candidate.model_variables
    if variable in model_variables.values:
        return model_variables.values[variable]
    if variable in model_variables.references:
        return "from " + ", ".join(model_variables.references[variable])
    return "perhaps in envFrom" if variable in model_variables.sources else ""
