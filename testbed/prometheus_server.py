"""A Prometheus as a process of this host, with the rules and queries of the manifests in a time that is shortened.

A minute of a rule is a second here, and an hour six: of its windows, and of the time for which it must hold.
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from testbed.controllers.prometheus import prometheus
from testbed.processes import free_port, running

MANIFESTS: Final = Path(__file__).parents[1] / "manifests"
RULES: Final = sorted(MANIFESTS.glob("components/*/prometheus-rule.yaml"))
DASHBOARDS: Final = sorted(MANIFESTS.glob("components/*/dashboard.json"))
INTERVAL: Final = "500ms"  # between two scrapes, and two looks at the rules
MINUTES: Final = re.compile(r"\b(\d+)m\b")
HOUR: Final = re.compile(r"\b1h\b")

Json = dict[str, Any]


def rules() -> dict[str, Json]:
    """Return each rule of the manifests by the name of its alert."""
    found = (yaml.safe_load(path.read_text()) for path in RULES)
    groups = (group for thing in found for group in thing["spec"]["groups"])
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries() -> dict[str, str]:
    """Return each query of the dashboards by the title of its panel."""
    boards = {path.parent.name: json.loads(path.read_text()) for path in DASHBOARDS}
    return {
        f"{board}: {panel['title']} {target['refId']}": target["expr"]
        for board, content in boards.items()
        for panel in content["panels"]
        for target in panel["targets"]
    }


def shortened(text: str) -> str:
    """Return an expression or a duration with seconds for minutes, and six seconds for an hour."""
    return HOUR.sub("6s", MINUTES.sub(r"\1s", text))


def shortened_rule(rule: Json) -> Json:
    times = {"for": shortened(rule["for"])} if "for" in rule else {}
    return {**rule, "expr": shortened(rule["expr"]), **times}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An address with metrics, as `host:port`, and the labels that the operator gives it."""

    address: str
    service: str
    pod: str
    namespace: str = "test"

    def entry(self) -> Json:
        labels = {"service": self.service, "pod": self.pod, "namespace": self.namespace}
        return {"targets": [self.address], "labels": labels}


class Prometheus:
    """A running Prometheus. `targets` may be changed."""

    def __init__(self, url: str, targets: Path) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self._file = targets
        self._targets: list[Target] = []

    @contextmanager
    def scraping(self, *targets: Target) -> Iterator[None]:
        """Read the metrics of these targets for the length of a block."""
        self._change([*self._targets, *targets])
        try:
            yield
        finally:
            self._change([target for target in self._targets if target not in targets])

    @contextmanager
    def scraping_nothing(self) -> Iterator[None]:
        before = self._targets
        self._change([])
        try:
            yield
        finally:
            self._change(before)

    def _change(self, targets: Sequence[Target]) -> None:
        self._targets = list(targets)
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps([target.entry() for target in targets]))
        unfinished.replace(self._file)

    def ask(self, query: str) -> list[Json]:
        """Return the result of a query. Raises HTTPStatusError if it is none."""
        found: list[Json] = (
            self.client.get("/api/v1/query", params={"query": query}).raise_for_status().json()["data"]["result"]
        )
        return found

    def values(self, query: str) -> list[float]:
        """Return the finite values of a query's result."""
        found = (float(sample["value"][1]) for sample in self.ask(query))
        return [value for value in found if math.isfinite(value)]

    def firing(self) -> set[str]:
        return {sample["metric"]["alertname"] for sample in self.ask('ALERTS{alertstate="firing"}')}

    def until(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        """Wait for a condition. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.25)


@contextmanager
def prometheus_server(
    folder: Path, groups: Mapping[str, Sequence[Json]], others: Sequence[Json] = ()
) -> Iterator[Prometheus]:
    """Run a Prometheus with rules by the names of their groups for the length of a block; `folder` takes its files.

    `others` are scrape configurations in addition to that of its targets.
    """
    targets, port = folder / "targets.json", free_port()
    targets.write_text("[]")
    written = {"groups": [{"name": name, "rules": list(found)} for name, found in groups.items()]}
    (folder / "rules.yml").write_text(yaml.safe_dump(written))
    discovery = {"files": [str(targets)], "refresh_interval": "1s"}
    jobs = [{"job_name": "targets", "file_sd_configs": [discovery]}, *others]
    intervals = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    config = {"global": intervals, "rule_files": ["rules.yml"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command: list[str | Path] = [
        prometheus(),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, log=folder / "prometheus.log", env={}, cwd=folder) as process:
        url = f"http://127.0.0.1:{port}"
        process.wait_for_http(f"{url}/-/ready")
        found = Prometheus(url, targets)
        with found.client:
            yield found
