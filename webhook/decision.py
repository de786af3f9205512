"""What the webhook decides about a pod: why, and what is to change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_contract.model_ref import ModelRef
from webhook.reasons import Outcome, Reason

__all__ = ["Decision", "Operation", "Outcome"]

Operation = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one review, before it is written as an AdmissionReview. `operations` is a JSON Patch that only
    adds; `model` is the one that they bring, where the pod names it by value.
    """

    reason: Reason
    message: str = ""
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    model: ModelRef | None = None

    @property
    def outcome(self) -> Outcome:
        return self.reason.outcome

    @property
    def allowed(self) -> bool:
        return self.outcome is not Outcome.DENIED


class RefusalError(Exception):
    """A rule ends the review before the patch. The message is for whoever created the pod."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def warning(reason: Reason, sentence: str) -> str:
    """A warning beside an injection. It carries its code, which stands nowhere else."""
    return f"{sentence} ({reason})"
