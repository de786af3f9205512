"""Audit logs of several replicas as one, in order, with what is missing in them."""

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ENDS_NOTHING: Final = frozenset({"begin", "torn"})

Json = dict[str, Any]
# The term of the Lease, then the time: clocks of two machines differ, but all changes of one term precede the next
# term.
Position = tuple[int, str]


@dataclass(slots=True)
class JoinedLogs:
    """Lines of several files; `faults` has a sentence for each gap, once `lines` has ended."""

    files: Sequence[Path]
    faults: list[str] = field(default_factory=list)
    _begun: dict[str, str] = field(default_factory=dict)  # texts about unfinished moves, by the id of the request

    def lines(self) -> Iterator[str]:
        """Yield the lines in order, each with the name of its replica. Raises OSError."""
        for _, where, entry in heapq.merge(*map(self._lines_of, self.files), key=lambda found: found[0]):
            self._follow(where, entry)
            yield json.dumps(entry, ensure_ascii=False)
        self.faults += [f"{move}: no line says how it ended" for move in self._begun.values()]

    def _lines_of(self, file: Path) -> Iterator[tuple[Position, str, Json]]:
        """Yield place, file and content of each line of one file, in its order even if a clock was set back."""
        place, last = (0, ""), 0
        with file.open(encoding="utf-8", errors="replace") as opened:
            for number, text in enumerate(opened, 1):
                where = f"{file}, line {number}"
                entry = parsed(text)
                if entry is None:
                    self.faults.append(f"{where}: it is not a line of the audit log")
                    continue
                replica = str(entry.setdefault("replica", file.stem))
                last = self._sequence(where, replica, last, entry)
                place = max(place, (int(entry.get("term") or 0), str(entry.get("ts", ""))))
                yield place, where, entry

    def _sequence(self, where: str, replica: str, last: int, entry: Mapping[str, Any]) -> int:
        """Return the number of the line, and note missing lines before it. At each start numbers begin with 1."""
        number = entry.get("seq")
        if not isinstance(number, int):
            return last
        if number not in {1, last + 1}:
            self.faults.append(f"{where}: {replica} has line {number} after {last}, so lines are missing")
        return number

    def _follow(self, where: str, entry: Mapping[str, Any]) -> None:
        """Note a move that begins, until the line of its end."""
        request, decision = str(entry.get("request_id")), entry.get("decision")
        if decision == "begin":
            self._begun[request] = f"{where}: {entry.get('op')} of {entry.get('model')} has begun"
        elif decision not in ENDS_NOTHING:
            self._begun.pop(request, None)


def parsed(text: str) -> Json | None:
    """Return the object of a line, None if it holds none."""
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
