"""A port of this machine that leads to a Service of the cluster, as `kubectl port-forward` makes it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.cluster.kube import Kube, KubectlError


@contextmanager
def forwarded(kube: Kube, namespace: str, service: str, port: int) -> Iterator[str]:
    """Its address, for the length of a `with` block. It leads to the pod that is there at this moment. Raises
    KubectlError.
    """
    command = [
        kube.program,
        f"--kubeconfig={kube.kubeconfig}",
        "-n",
        namespace,
        "port-forward",
        f"service/{service}",
        f":{port}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            if not (found := re.search(r"127\.0\.0\.1:(\d+)", said)):
                process.kill()
                raise KubectlError(process.stderr.read() if process.stderr else said)
            yield f"http://localhost:{found[1]}"  # MLflow serves that host by default, and no other of this machine
        finally:
            process.terminate()
