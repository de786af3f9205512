"""Changes whose answer does not say whether they were made: what is there decides."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from model_lifecycle.errors import UnavailableError

TRIES: Final = 7  # half a minute, in which an MLflow has started anew
LONGEST_WAIT: Final = 10.0  # seconds between two of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One that may be made twice. `holds` says whether it was made."""

    make: Callable[[], None]
    holds: Callable[[], bool]


def settle(change: Change) -> None:
    """Raises LifecycleError."""
    for attempt in range(1, TRIES + 1):
        try:
            if attempt == 1 or not change.holds():
                change.make()
        except UnavailableError:
            if attempt == TRIES:
                raise
            time.sleep(min(LONGEST_WAIT, random.uniform(0.1, 0.3) * 2**attempt))  # noqa: S311  so that two do not meet again
        else:
            return
