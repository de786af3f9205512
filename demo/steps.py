"""The steps of the demo: each takes what the steps before it made, does one thing on real parts, and says so."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from demo.pods import example_pod
from demo.stage import Answers, GuardedMlflow, Registered, Stage
from model_contract.layout import model_path
from model_contract.model_ref import ModelRef
from model_contract.names import ARTIFACTS_PATH, INIT_CONTAINER, MODEL_VOLUME, PROJECT_ID_LABEL, TOKEN_KEY, pull_secret
from testbed.api_server import apply_answer, patch_of
from testbed.local_pod import LocalPod
from testbed.mlflow_server import mlflow_server
from testbed.processes import free_port
from testbed.token_proxy import token_proxy
from testbed.webhook_server import WebhookServer, webhook_server

ROOT: Final = Path(__file__).parent.parent
MODEL_FILE: Final = ROOT / "examples" / "domino-project" / "model.py"
NAME: Final = "wine-quality"
OWNER: Final = "jane.doe"


def start_mlflow(stage: Stage) -> GuardedMlflow:
    with stage.say.step("Start a real MLflow tracking server"):
        server = stage.processes.enter_context(mlflow_server("3.17", stage.directory / "mlflow"))
        guarded_uri = stage.processes.enter_context(token_proxy(server.uri, stage.token))
        stage.say.note(f"MLflow 3.17 at {server.uri}: registry in SQLite, artifacts on disk")
        stage.say.note(f"the pod reads through {guarded_uri}, which wants the project's token")
    return GuardedMlflow(server=server, guarded_uri=guarded_uri)


def train(stage: Stage, mlflow: GuardedMlflow) -> Registered:
    project_id = example_pod()["metadata"]["labels"][PROJECT_ID_LABEL]
    with stage.say.step("Train a model, log it, register it: what a notebook does"):
        output = mlflow.server.run(ROOT / "manifests" / "overlays" / "quickstart" / "train.py", NAME, OWNER, project_id, "wine")
        made = json.loads(output.splitlines()[-1])
        ref = ModelRef(name=NAME, version=made["version"], owner=OWNER, run_id=made["run_id"])
        stage.say.note(f"an ElasticNet, from 1,600 wines: {ref.name} version {ref.version}")
        stage.say.note(f"run {ref.run_id} of {ref.owner}")
    return Registered(ref=ref, rows={key: made["sample"][key] for key in ("columns", "data")})


def start_webhook(stage: Stage, *, tracking_uri: str) -> WebhookServer:
    with stage.say.step("Start the webhook: gunicorn with TLS"):
        settings = {"MODEL_API_WEBHOOK_TRACKING_URI": tracking_uri}
        webhook = stage.processes.enter_context(webhook_server(stage.directory / "webhook", settings))
        stage.say.note(f"{webhook.url}/mutate, with a certificate of its own authority")
    return webhook


def admit(stage: Stage, webhook: WebhookServer, pod: dict[str, Any]) -> dict[str, Any]:
    with stage.say.step("Create the pod of examples/model-api-pod.yaml: the webhook gets an AdmissionReview"):
        answer = webhook.review(pod)
        if not answer["response"]["allowed"]:
            raise RuntimeError(f"the webhook denied the pod: {answer['response']['status']['message']}")
        stage.say.note("allowed; the answer's patch adds")
        stage.say.patch(patch_of(answer))
    return apply_answer(pod, answer)


def deliver(stage: Stage, admitted: dict[str, Any], ref: ModelRef) -> LocalPod:
    secrets = {pull_secret(admitted["metadata"]["labels"][PROJECT_ID_LABEL]): {TOKEN_KEY: stage.token}}
    local = LocalPod(pod=admitted, directory=stage.directory / "pod", secrets=secrets)
    with stage.say.step(f"Run the admitted pod's init container {INIT_CONTAINER}, as a process"):
        local.create_volumes()
        for line in local.run_init_containers(environ=stage.environ)[INIT_CONTAINER].splitlines():
            stage.say.note(line)
        stage.say.files(local.directory / "volumes" / MODEL_VOLUME, label=f"volume {MODEL_VOLUME}")
        stage.say.note(f"mounted at {model_path(ref.owner, ref.run_id)}")
    return local


def serve(stage: Stage, pod: LocalPod) -> str:
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = ["model-api-runtime", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with stage.say.step("Start the pod's container model with the serving runtime, as a process"):
        process = stage.processes.enter_context(pod.running_container("model", command, environ=model_environ(stage, pod)))
        process.wait_for_http(f"{endpoint}/readyz")
        stage.say.note(f"{endpoint} is ready: model loaded, its example predicted")
        stage.say.note(f"{ARTIFACTS_PATH} stands for the mount, which a process does not have")
    return endpoint


def predict(stage: Stage, endpoint: str, pod: LocalPod, mlflow: GuardedMlflow, registered: Registered) -> Answers:
    with stage.say.step("Ask for the quality of three wines, in three ways"):
        answers = Answers(
            http=ask_over_http(endpoint, registered.rows),
            function=ask_function(model_environ(stage, pod), registered.rows),
            mlflow=ask_mlflow(mlflow, registered),
        )
        stage.say.note(f"POST /invocations                    {shown(answers.http)}")
        stage.say.note(f"predict() of model.py, as in Domino  {shown(answers.function)}")
        stage.say.note(f"mlflow.pyfunc, full MLflow 3.17      {shown(answers.mlflow)}")
    return answers


def ask_over_http(endpoint: str, rows: Mapping[str, Any]) -> list[float]:
    request = urllib.request.Request(  # noqa: S310  a loopback address of ours
        f"{endpoint}/invocations", json.dumps({"dataframe_split": rows}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  as above
        predictions: list[float] = json.load(answer)["predictions"]
    return predictions


def ask_function(environ: Mapping[str, str], rows: Mapping[str, Any]) -> list[float]:
    columns = dict(zip(rows["columns"], map(list, zip(*rows["data"], strict=True)), strict=True))
    command = [sys.executable, str(ROOT / "demo" / "call_function.py"), str(MODEL_FILE), json.dumps({"vars": columns})]
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=True)
    predictions: list[float] = json.loads(done.stdout)
    return predictions


def ask_mlflow(mlflow: GuardedMlflow, registered: Registered) -> list[float]:
    uri = f"models:/{registered.ref.name}/{registered.ref.version}"
    output = mlflow.server.run(ROOT / "demo" / "reference.py", uri, json.dumps(registered.rows))
    predictions: list[float] = json.loads(output.splitlines()[-1])
    return predictions


def model_environ(stage: Stage, pod: LocalPod) -> dict[str, str]:
    """What the process of the model container gets: its own variables, and the directory that its mount stands for."""
    container = pod.container("model")
    mount = next(mount for mount in container["volumeMounts"] if mount["name"] == MODEL_VOLUME)
    return pod.environment(container, stage.environ) | {ARTIFACTS_PATH: str(pod.directory_of(mount))}


def shown(predictions: list[float]) -> str:
    return "  ".join(f"{value:.6f}" for value in predictions)
