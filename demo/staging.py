"""Staging: Domino makes a model API of a version.

The webhook admits its pod, which fetches the model through the gate.
"""

import json
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from demo.context import NAME, DemoContext, jane_environment
from model_contract.names import INIT_CONTAINER, MODEL_VOLUME
from testbed.api_server import patch_of
from testbed.domino import Domino, domino
from testbed.domino.pods import pod_of
from testbed.faults import cut, first, only
from testbed.gate import Gate
from testbed.local_pod import LocalPod
from testbed.mlflow_server import client_environment
from testbed.processes import installed
from testbed.reverse_proxy import reverse_proxy
from testbed.webhook_server import WebhookServer, webhook_server

CUT_AFTER: Final = 200  # bytes of the first file MLmodel that a pod fetches
CUT: Final = "the connection was cut"  # as the fetch says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A Domino with the webhook in its cluster."""

    domino: Domino
    webhook: WebhookServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version's model API: its URL, its pod as created and as running, and the log of the init container."""

    version: int
    url: str
    created: dict[str, Any]
    running: LocalPod
    log: list[str]


def start_domino(context: DemoContext, gate: Gate) -> Installation:
    with context.terminal.step("Start the webhook, and a simulation of Domino that deploys for real"):
        network = context.processes.enter_context(reverse_proxy(gate.uri, only("/MLmodel", first(1, cut(CUT_AFTER)))))
        settings = {"MODEL_API_WEBHOOK_TRACKING_URI": network.uri}
        webhook = context.processes.enter_context(webhook_server(context.directory / "webhook", settings))
        found = context.processes.enter_context(domino(context.directory / "domino", gate=gate, webhook=webhook))
        context.terminal.note(f"{webhook.url}/mutate: gunicorn with TLS, and a certificate of its own authority")
        context.terminal.note(
            f"{found.uri}: Domino's API; what is published there becomes a pod, run here as processes"
        )
        context.terminal.note(
            f"the network between pods and gate cuts the first fetch, after {CUT_AFTER} bytes of a file"
        )
    return Installation(domino=found, webhook=webhook)


def stage(context: DemoContext, gate: Gate, installation: Installation, version: int) -> Staged:
    command = [str(installed("model-api")), "stage", f"--name={NAME}", f"--version={version}", "--format=json"]
    environ = client_environment() | jane_environment(gate) | installation.domino.environ()
    with context.terminal.step(f"Jane, in a workspace: model-api stage --name {NAME} --version {version}"):
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            said = [context.terminal.line(line) for line in process.stderr or []]
            output = process.stdout.read() if process.stdout else ""
        if process.returncode:
            raise RuntimeError(f"model-api stage ended with {process.returncode}: {''.join(said)}")
        made = json.loads(output)
    model = installation.domino.model_api(made["model_id"])
    running = installation.domino.pods()[made["model_version_id"]].pod
    prefix = f"{INIT_CONTAINER}: "
    log = [
        line for said in model.newest.log if said.startswith(prefix) for line in said.removeprefix(prefix).splitlines()
    ]
    return Staged(version=version, url=made["url"], created=pod_of(model, model.newest), running=running, log=log)


def show_pod(context: DemoContext, installation: Installation, staged: Staged) -> None:
    with context.terminal.step(
        "Look at the pod behind it: Domino has named the model in four variables, the webhook has added"
    ):
        context.terminal.patch(patch_of(installation.webhook.review(staged.created)))
        context.terminal.note(f"{INIT_CONTAINER} ran first, with the token that may only read:")
        for line in staged.log:
            context.terminal.quote(line)
        context.terminal.note("its connection was cut once, and it went on: the model is whole, in one rename")
        context.terminal.files(staged.running.directory / "volumes" / MODEL_VOLUME, label=f"volume {MODEL_VOLUME}")
