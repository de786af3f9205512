"""Mixed traffic, good and bad, for any time: every answer is checked, and the memory is watched.

`python -m benchmarks.runtime_soak [--minutes 60] [--clients 8]`; it ends with 1 if an answer was wrong or the memory
grew.
"""

import argparse
import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import describe, memory
from benchmarks.runtime_predictions import COLUMNS, saved
from testbed.runtime_server import RuntimeServer, serving

# Memory after the first tenth of the time, when every kind of request has been answered often, against the end.
GROWTH: Final = 1.1
WARM: Final = 0.1
TOLERANCE: Final = 1e-9
LEAST: Final = 150  # requests of each client, so that a short time has every kind
SAMPLES: Final = 5  # of the memory, at either end
CSV: Final = {"Content-Type": "text/csv"}
JSON: Final = {"Content-Type": "application/json"}
PATIENCE: Final = 30  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, and the check of its answer's status and body."""

    kind: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    right: Callable[[int, bytes], bool]


@dataclass(slots=True)
class Tally:
    """Counts of the answers, and the wrong ones."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Traffic:
    """Requests whose answers are known: the model is linear, so that predictions are computed here."""

    def __init__(self, coefficients: Sequence[float], intercept: float, seed: int) -> None:
        self._coefficients = coefficients
        self._intercept = intercept
        self._random = random.Random(seed)  # noqa: S311  traffic, no secret
        good = (self._split, self._split, self._split, self._records, self._csv, self._v1, self._v2)
        self._kinds = (
            *good,
            *good,
            self._text,
            self._missing,
            self._no_json,
            self._nested,
            self._nan,
            self._unknown,
            self._media,
        )

    def next(self) -> Asked:
        return self._random.choice(self._kinds)()

    def _rows(self) -> list[list[float]]:
        count = self._random.choice((1, 1, 1, 1, 3, 50))
        return [[round(self._random.uniform(-5, 5), 6) for _ in COLUMNS] for _ in range(count)]

    def _expected(self, rows: Sequence[Sequence[float]]) -> list[float]:
        return [
            self._intercept + sum(one * other for one, other in zip(self._coefficients, row, strict=True))
            for row in rows
        ]

    def _predicted(
        self, rows: Sequence[Sequence[float]], get: Callable[[Any], Any] = lambda document: document["predictions"]
    ) -> Any:
        wanted = self._expected(rows)

        def right(status: int, body: bytes) -> bool:
            values = get(json.loads(body)) if status == 200 else []  # noqa: PLR2004  good
            return len(values) == len(wanted) and all(
                abs(one - other) <= TOLERANCE for one, other in zip(values, wanted, strict=True)
            )

        return right

    def _split(self) -> Asked:
        rows = self._rows()
        return _json(
            "split",
            "/invocations",
            {"dataframe_split": {"columns": list(COLUMNS), "data": rows}},
            self._predicted(rows),
        )

    def _records(self) -> Asked:
        rows = self._rows()
        records = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return _json("records", "/invocations", {"dataframe_records": records}, self._predicted(rows))

    def _csv(self) -> Asked:
        rows = self._rows()
        lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]
        return Asked(
            kind="csv", path="/invocations", body="\n".join(lines).encode(), headers=CSV, right=self._predicted(rows)
        )

    def _v1(self) -> Asked:
        rows = self._rows()
        return _json("v1", "/v1/models/model:predict", {"instances": rows}, self._predicted(rows))

    def _v2(self) -> Asked:
        rows = self._rows()
        tensor = {"name": "input-0", "shape": [len(rows), len(COLUMNS)], "datatype": "FP64", "data": rows}
        right = self._predicted(rows, lambda document: document["outputs"][0]["data"])
        return _json("v2", "/v2/models/model/infer", {"inputs": [tensor]}, right)

    def _text(self) -> Asked:
        rows: list[list[Any]] = [list(row) for row in self._rows()]
        rows[self._random.randrange(len(rows))][3] = "high"
        return _json(
            "a text", "/invocations", {"dataframe_split": {"columns": list(COLUMNS), "data": rows}}, _status(400)
        )

    def _missing(self) -> Asked:
        return _json("a missing column", "/invocations", {"dataframe_records": [{COLUMNS[0]: 1.0}]}, _status(400))

    def _no_json(self) -> Asked:
        return Asked(kind="no JSON", path="/invocations", body=b'{"inputs": [', headers=JSON, right=_status(400))

    def _nested(self) -> Asked:
        return Asked(kind="brackets", path="/invocations", body=b"[" * 100_000, headers=JSON, right=_status(400))

    def _nan(self) -> Asked:
        return Asked(
            kind="NaN", path="/invocations", body=b'{"inputs": [NaN, 1e400]}', headers=JSON, right=_status(400)
        )

    def _unknown(self) -> Asked:
        return _json("another model", "/v2/models/beer/infer", {"inputs": []}, _status(404))

    def _media(self) -> Asked:
        return Asked(
            kind="a media type",
            path="/invocations",
            body=b"x",
            headers={"Content-Type": "text/html"},
            right=_status(415),
        )


def _json(kind: str, path: str, document: Any, right: Callable[[int, bytes], bool]) -> Asked:
    return Asked(kind=kind, path=path, body=json.dumps(document).encode(), headers=JSON, right=right)


def _status(wanted: int) -> Callable[[int, bytes], bool]:
    return lambda status, body: status == wanted and b"error" in body


def client(server: RuntimeServer, traffic: Traffic, until: float, tally: Tally) -> None:
    """Use one connection after the other, each for a while; now and then one sends half a request and leaves."""
    connection = server.client()
    for number in range(sys.maxsize):
        if time.monotonic() > until and number >= LEAST:
            break
        asked = traffic.next()
        try:
            connection.request("POST", asked.path, asked.body, dict(asked.headers))
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
            if not asked.right(status, body):
                tally.wrong.append(f"{asked.kind}: {status} {body[:200]!r}")
            tally.answers[asked.kind] += 1
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            tally.wrong.append(f"{asked.kind}: {type(error).__name__}: {error}")
        if number % 97 == 0:
            connection.close()
            _leave_early(server)
    connection.close()


def _leave_early(server: RuntimeServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as half:
        half.sendall(b'POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"inputs": [')


def soak(
    server: RuntimeServer, coefficients: Sequence[float], intercept: float, *, seconds: float, clients: int
) -> tuple[Tally, float, float]:
    """Return the tally, and the memory in MiB after the first tenth and at the end."""
    tally, began = Tally(), time.monotonic()
    threads = [
        threading.Thread(target=client, args=(server, Traffic(coefficients, intercept, number), began + seconds, tally))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds * WARM)
    first = _memory(server)
    for thread in threads:
        thread.join()
    return tally, first, _memory(server)


def _memory(server: RuntimeServer) -> float:
    return min(memory(server.process.popen.pid) for _ in range(SAMPLES))


def weights(model: Path) -> tuple[list[float], float]:
    """Return coefficients and intercept of the linear model in a directory, saved with cloudpickle."""
    import cloudpickle  # noqa: PLC0415  and scikit-learn with it

    found = cloudpickle.loads((model / "model.pkl").read_bytes())
    return found.coef_.tolist(), float(found.intercept_)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        model = saved("elastic-net", Path(name) / "elastic-net")
        with serving(model, "--workers", "2", log=Path(name) / "log", own_process=True) as server:
            tally, first, last = soak(server, *weights(model), seconds=options.minutes * 60, clients=options.clients)
    total = sum(tally.answers.values())
    print(
        f"{total:,} answers in {options.minutes:g} minutes:"
        f" {', '.join(f'{count:,} {kind}' for kind, count in tally.answers.most_common())}"
    )
    print(f"{len(tally.wrong)} wrong; memory {first:.0f} MiB after a tenth of the time, {last:.0f} MiB at the end")
    for line in tally.wrong[:20]:
        print(f"  {line}")
    return 1 if tally.wrong or last > first * GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
