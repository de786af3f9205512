"""`model-api-webhook serve` as a process with a certificate of its own, and a client of it."""

import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.api_server import review_of
from testbed.certificates import Certificates, issue
from testbed.processes import PATIENCE, Process, free_port, installed, running
from webhook.cli import COMMANDS

HOST: Final = "127.0.0.1"
MODULES: Final = ("webhook.cli", "webhook.commands.serve")
OF_COMMANDS: Final = tuple(f"webhook.commands.{module}" for module in sorted({one.module for one in COMMANDS}))
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookServer:
    """A running webhook that answers."""

    process: Process
    port: int
    metrics_port: int
    certificates: Certificates

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    def workers(self, count: int = 2) -> list[int]:
        """Return the process ids of the workers, once there are so many. Raises TimeoutError if that takes too long."""
        pid = self.process.popen.pid
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if len(found) == count:
                return sorted(map(int, found))
            time.sleep(0.02)
        raise TimeoutError(f"the webhook has not {count} workers")

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificates.authority))

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(HOST, self.port, timeout=PATIENCE, context=self.trust())

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Return status and body of one request, on a connection of its own."""
        with closing(self.connection()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def review(self, pod: Mapping[str, Any], **request: Any) -> dict[str, Any]:
        """Return the AdmissionReview that answers the one for the creation of `pod`."""
        status, answer = self.ask("POST", "/mutate", json.dumps(review_of(pod, **request)).encode(), JSON)
        if status != http.client.OK:
            raise AssertionError(f"{status}: {answer}")
        reviewed: dict[str, Any] = json.loads(answer)
        return reviewed

    def metrics(self) -> dict[str, float]:
        """Return every series by its name and labels, as Prometheus reads it."""
        with closing(http.client.HTTPConnection(HOST, self.metrics_port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return {
            series: float(value)
            for series, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
        }

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.process.log.read_text().splitlines()]

    def logged(self, message: str) -> dict[str, Any]:
        """Return the one line with the message; that of a review comes after its answer. Raises TimeoutError."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            whole = self.process.log.read_text().rpartition("\n")[0]
            lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
            if found := [line for line in lines if line["message"] == message]:
                assert len(found) == 1  # noqa: S101  a test's own check
                return found[0]
            time.sleep(0.02)
        raise TimeoutError(f"the webhook has not logged {message!r}")


@contextmanager
def webhook_server(
    directory: Path, variables: Mapping[str, str] | None = None, *, own_process: bool = False
) -> Iterator[WebhookServer]:
    """Run the webhook for the length of a `with` block.

    `variables` are settings; `directory` takes its files. Unless it has a process of its own, the webhook is a fork of
    one that has imported its modules.
    """
    certificates = issue(directory / "tls", HOST)
    port, metrics_port = free_port(), free_port()
    settings = {
        "MODEL_API_WEBHOOK_SERVER_HOST": HOST,
        "MODEL_API_WEBHOOK_SERVER_PORT": str(port),
        "MODEL_API_WEBHOOK_SERVER_METRICS_PORT": str(metrics_port),
        "MODEL_API_WEBHOOK_SERVER_CERTIFICATE_FILE": str(certificates.certificate),
        "MODEL_API_WEBHOOK_SERVER_KEY_FILE": str(certificates.key),
    }
    environ = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE")}
    with running(
        [installed("model-api-webhook"), "serve"],
        log=directory / "webhook.log",
        env=environ | settings | dict(variables or {}),
        imported=() if own_process else MODULES,
    ) as process:
        process.wait_for_http(f"http://{HOST}:{metrics_port}/metrics")
        yield WebhookServer(process=process, port=port, metrics_port=metrics_port, certificates=certificates)
