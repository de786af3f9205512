"""The decision about a pod: its reason, its message, and the changes to the pod."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_contract.image_reference import ImageReference
from model_contract.model_ref import ModelRef
from webhook.reasons import Outcome, Reason

__all__ = ["Decision", "Operation", "Outcome"]

Operation = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelImage:
    """The image that holds a pod's model. `source` names the origin of its reference."""

    reference: ImageReference
    source: str

    @property
    def pinned(self) -> bool:
        """True if the reference always names the same image; a tag may be moved to another one."""
        return self.reference.digest is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about one pod, before it is written as an AdmissionReview.

    `operations` is a JSON Patch that only adds. `model` is the model that they bring, if the pod names it by value;
    `image` is the image that they mount.
    """

    reason: Reason
    message: str = ""
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    model: ModelRef | None = None
    image: ModelImage | None = None

    @property
    def outcome(self) -> Outcome:
        return self.reason.outcome

    @property
    def allowed(self) -> bool:
        return self.outcome is not Outcome.DENIED


class RefusalError(Exception):
    """A rule refuses the pod, so that it gets no model. `kubectl` prints the message to the pod's creator."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def warning(reason: Reason, sentence: str) -> str:
    """Return a warning for a pod that gets its model, with its code, which the answer names nowhere else."""
    return f"{sentence} ({reason})"
