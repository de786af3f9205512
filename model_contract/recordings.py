"""Recorded requests of a model, and the comparison of a new answer with the recorded one.

A recording has a line for each request. The server's recorder writes `{"time", "request_id", "protocol", "request",
"predictions"}`: `request` is a body of `POST /invocations` for every protocol. Lines of other recorders have `{"path",
"request", "response", "status"}`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final

from model_contract.prediction_differences import MOST_DIFFERENCES, differences

INVOCATIONS: Final = "/invocations"
PREDICTIONS: Final = "predictions"
REFUSED: Final = 400  # this status and those above


class RecordingError(ValueError):
    """A line is not a recorded request. The message names the line, and none of its values."""


class Outcome(StrEnum):
    """The result of a comparison; SKIPPED: the recorder left the request out."""

    SAME = "same"
    DIFFERENT = "different"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request of a recording, at its `line`."""

    line: int
    path: str
    request: Any
    response: Any
    status: int

    @property
    def is_complete(self) -> bool:
        """False if the recorder left out the body of the request: it was too large, redacted, or no JSON."""
        return isinstance(self.request, dict)

    def compared(self, status: int, response: Any, tolerance: float) -> tuple[Outcome, str]:
        """Return the outcome for another answer to the request, and a sentence for what differs.

        The sentence may hold predictions. `tolerance` is relative to the larger of two numbers.
        """
        if status != self.status:
            return Outcome.DIFFERENT, f"status {status}, recorded {self.status}"
        if status >= REFUSED:  # the words of a refusal may change
            return Outcome.SAME, ""
        found = islice(differences(_value(response), _value(self.response), tolerance), MOST_DIFFERENCES)
        told = "; ".join(found)
        return (Outcome.DIFFERENT, told) if told else (Outcome.SAME, "")


def read_recording(path: Path) -> Iterator[Recorded]:
    """Yield the requests of a file. Raises RecordingError, and OSError if the file cannot be read."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _recorded(number, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise RecordingError(
                    f"line {number} of {path} is not a recorded request ({type(error).__name__}: {error})"
                ) from None


def _recorded(line: int, entry: dict[str, Any]) -> Recorded:
    """Raises KeyError, TypeError, ValueError, AttributeError."""
    response = entry["response"] if "response" in entry else {PREDICTIONS: entry[PREDICTIONS]}
    return Recorded(
        line=line,
        path=entry.get("path", INVOCATIONS),
        request=entry["request"],
        response=response,
        status=int(entry.get("status", 200)),
    )


def _value(response: Any) -> Any:
    """Return the predictions of an answer: the answer of a chat model has no key around them."""
    return response[PREDICTIONS] if isinstance(response, dict) and set(response) == {PREDICTIONS} else response
