"""What one process has besides the model: where it counts, where it records, and what the model's first calls have
shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_runtime.http.tokens import Tokens
from serving_runtime.observability.capture import Recorder
from serving_runtime.observability.metrics import Metrics

if TYPE_CHECKING:
    from serving_runtime.prediction.warm_up import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """`tokens` is None where requests need none.

    `may_merge`: several requests in one call of the model get what each would have got alone; `against` says why they
    do not.
    """

    metrics: Metrics
    recorder: Recorder
    tokens: Tokens | None = None
    may_merge: bool = False
    against: str | None = None
    timings: Sequence["Timing"] = ()
