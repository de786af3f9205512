"""Why a pod is injected or not: every rule, every container, the decision. Data only; `table` draws it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_contract.names import MODEL_VARIABLES
from webhook.annotations import read_wishes
from webhook.decision import Decision, RefusalError
from webhook.demand import Candidate
from webhook.offline.inject import decision_about
from webhook.offline.workloads import Workload
from webhook.pod import MalformedPodError, Pod
from webhook.selection import evaluate
from webhook.settings import Settings
from webhook.targets import survey


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """One rule of the selection. `passed` is None where a file cannot tell."""

    name: str
    where: str
    text: str
    passed: bool | None
    code: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFinding:
    """What a container says of the four variables: a value, `from <reference>`, `perhaps in envFrom`, or nothing."""

    name: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    workload: Workload
    rules: Sequence[RuleResult]
    containers: Sequence[ContainerFinding]
    decision: Decision

    def as_json(self) -> dict[str, Any]:
        """For programs; the names of the keys stay."""
        reason = self.decision.reason
        return {
            "object": self.workload.title,
            "rules": [
                {"name": rule.name, "where": rule.where, "must": rule.text, "passed": rule.passed, "code": rule.code, "rule": rule.rule}
                for rule in self.rules
            ],
            "containers": [{"name": container.name, "variables": dict(container.variables)} for container in self.containers],
            "decision": {
                "outcome": reason.outcome.value,
                "code": reason.value,
                "rule": reason.rule,
                "message": self.decision.message,
                "warnings": list(self.decision.warnings),
                "remedy": reason.remedy,
                "patch": list(self.decision.operations),
            },
        }


def explain(workload: Workload, settings: Settings, *, labels: Mapping[str, Any] | None) -> Explanation:
    """`labels` are those of the object's namespace, where they are known."""
    results = evaluate(workload.pod, workload.namespace, labels, settings)
    return Explanation(
        workload=workload,
        rules=[
            RuleResult(
                name=result.rule.name,
                where=result.rule.part.value,
                text=result.rule.text,
                passed=result.passed,
                code=result.rule.reason.value,
                rule=result.rule.reason.rule,
            )
            for result in results
        ],
        containers=_findings(workload.pod),
        decision=next(
            (Decision(reason=result.rule.reason) for result in results if result.passed is False), decision_about(workload, settings)
        ),
    )


def _findings(raw: Mapping[str, Any]) -> list[ContainerFinding]:
    try:
        pod = Pod.read(raw)
        return [_finding(candidate) for candidate in survey(pod, read_wishes(pod))]
    except (MalformedPodError, RefusalError):
        return []  # the decision says what is wrong


def _finding(candidate: Candidate) -> ContainerFinding:
    return ContainerFinding(name=candidate.container.title, variables={name: _found(candidate, name) for name in MODEL_VARIABLES})


def _found(candidate: Candidate, variable: str) -> str:
    demand = candidate.demand
    if variable in demand.values:
        return demand.values[variable]
    if variable in demand.references:
        return "from " + ", ".join(demand.references[variable])
    return "perhaps in envFrom" if variable in demand.sources else ""
