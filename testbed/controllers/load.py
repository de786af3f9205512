"""Predictions that a pod of the cluster asks for at a steady rate, through a Service."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from testbed.cluster.kube import Kube

POD: Final = "load"
SENDER: Final = (Path(__file__).parent / "send_requests.py").read_text()

Json = dict[str, Any]


@contextmanager
def requests_at(kube: Kube, rate: float, url: str, body: Json) -> Iterator[Json]:
    """Send `rate` requests a second while the block runs; the yielded dict has the result after it."""
    command = [kube.program, f"--kubeconfig={kube.kubeconfig}", "-n", "default", "exec", "-i", POD, "--"]
    command += ["python", "-c", SENDER, url, str(rate), json.dumps(body)]
    result: Json = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sender:
        try:
            yield result
        finally:
            result |= json.loads(sender.communicate()[0] or "{}")
