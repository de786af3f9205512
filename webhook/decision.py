"""What the webhook decides about a pod: the outcome, why, and what is to change."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from webhook.reasons import Reason


class Outcome(StrEnum):
    """The four ways a review ends; the value is the metric's label."""

    INJECTED = "injected"  # the pod gets its model
    UNCHANGED = "unchanged"  # none of our business, or complete already
    SKIPPED = "skipped"  # it looks as if a model was wanted; the pod starts without one and is told why
    DENIED = "denied"  # what the pod asks for cannot be right


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one review, before it is written as an AdmissionReview. `operations` is a JSON Patch that only adds."""

    outcome: Outcome
    reason: Reason | None = None
    message: str = ""
    operations: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
