"""Deploys what was trained: says in a ConfigMap which run and version it is, and restarts the model API that reads it
from there.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import requests

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
RESTARTED = "kubectl.kubernetes.io/restartedAt"  # what `kubectl rollout restart` sets


def patch(path: str, change: dict[str, object]) -> None:
    namespace = (ACCOUNT / "namespace").read_text()
    address = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    answer = requests.patch(
        address + path.format(namespace=namespace),
        json=change,
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/merge-patch+json",
        },
        verify=str(ACCOUNT / "ca.crt"),
        timeout=30,
    )
    answer.raise_for_status()


def main(config_map: str, deployment: str) -> None:
    made = json.loads(sys.stdin.read().splitlines()[-1])
    patch(
        f"/api/v1/namespaces/{{namespace}}/configmaps/{config_map}",
        {"data": {"run_id": made["run_id"], "version": made["version"]}},
    )
    template = {"metadata": {"annotations": {RESTARTED: datetime.now(UTC).isoformat()}}}
    patch(f"/apis/apps/v1/namespaces/{{namespace}}/deployments/{deployment}", {"spec": {"template": template}})
    sys.stdout.write(f"version {made['version']}, run {made['run_id']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
