"""Each alert of the manifests fires when its fault is made, and each query of the dashboards answers.

A real Prometheus reads the real gate, the real webhook and a real API server. Its rules are those of the manifests with
shorter times (`testbed/prometheus_server.py`). A new alert needs an entry in FAULTS.
"""

import base64
import itertools
import json
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml

from model_contract.names import REGISTRATION
from model_contract.token_keys import meta_key
from model_contract.tokens import Purpose, fingerprint
from testbed.cluster.control_plane import ControlPlane, control_plane
from testbed.domino_users import DominoUsers, User, domino_users
from testbed.gate import API, PROJECT, Gate
from testbed.gate import gate as gate_process
from testbed.mlflow_server import MlflowServer
from testbed.processes import free_port
from testbed.prometheus_server import MANIFESTS, Prometheus, Target, prometheus_server, queries, rules, shortened_rule
from testbed.reverse_proxy import Exchange, reverse_proxy
from testbed.slow_clients import connected, head_of
from testbed.webhook_server import HOST, WebhookServer, webhook_server
from tests.tracking_gate.conftest import wine_behind
from tests.tracking_gate.relay import relay

POD = yaml.safe_load((MANIFESTS.parent / "examples" / "model-api-pod.yaml").read_text())
WEBHOOK = "pods.model-api.dominodatalab.com"
REGISTRATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
PLATFORM, MODELS = "domino-platform", "models"
KEY = {"X-Domino-Api-Key": "f00d" * 16}
DAY = timedelta(days=1)
UNLIMITED = "--attempts=100000"
NUMBERS = itertools.count(1)
RULES, QUERIES = rules(), queries()
# Numbers of seconds that a rule compares with, and shorter ones.
SHORTER = {"ModelApiGateTokensUnread": ("> 300", "> 5")}
# Python runs it at the start of a process: the fault of a program that is none of its own code.
BROKEN_GATE = """from tracking_gate.authentication.authenticator import Authenticator
async def authenticate(*_):
    raise RuntimeError("broken by the test")
Authenticator.authenticate = authenticate
"""
BROKEN_WEBHOOK = """import webhook.admission
def decide(*_):
    raise RuntimeError("broken by the test")
webhook.admission.decide = decide
"""
SLOW_WEBHOOK = """import time, webhook.admission
quick = webhook.admission.decide
def decide(*arguments):
    time.sleep(0.15)
    return quick(*arguments)
webhook.admission.decide = decide
"""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A Prometheus, and the parts that the gates and webhooks of the tests need."""

    prometheus: Prometheus
    mlflow: MlflowServer
    plane: ControlPlane
    folder: Path

    @contextmanager
    def gate(self, *options: str, upstream: str = "", broken: str = "", namespace: str = "test") -> Iterator[Gate]:
        """Run a gate whose metrics are read; `broken` is code that its process runs at its start."""
        port, name = free_port(), f"gate-{next(NUMBERS)}"
        server = replace(self.mlflow, uri=upstream) if upstream else self.mlflow
        prefix = ("env", f"PYTHONPATH={self.code(broken)}") if broken else ()
        with (
            gate_process(server, self.folder / name, f"--metrics-port={port}", *options, prefix=prefix) as found,
            self.read(Target(address=f"{HOST}:{port}", service="model-api-gate", pod=name, namespace=namespace)),
        ):
            yield found

    @contextmanager
    def webhook(self, *, broken: str = "", **variables: str) -> Iterator[WebhookServer]:
        """Run a webhook whose metrics are read; `broken` is code that its process runs at its start."""
        name = f"webhook-{next(NUMBERS)}"
        added = {"PYTHONPATH": str(self.code(broken))} if broken else {}
        with (
            webhook_server(self.folder / name, variables | added, own_process=bool(broken)) as found,
            self.read(Target(address=f"{HOST}:{found.metrics_port}", service="model-api-webhook", pod=name)),
        ):
            yield found

    @contextmanager
    def read(self, target: Target) -> Iterator[None]:
        """Read the metrics of a target, at least twice before the block begins."""
        with self.prometheus.scraping(target):
            seen = f'count_over_time(up{{pod="{target.pod}"}}[1m]) > 2 and up{{pod="{target.pod}"}} == 1'
            self.prometheus.until(lambda: self.prometheus.ask(seen), 30, f"{target.pod} is read")
            yield

    def code(self, text: str) -> Path:
        folder = self.folder / f"code-{next(NUMBERS)}"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(text)
        return folder


@contextmanager
def repeated(call: Callable[[], object], *, pause: float = 0.2, threads: int = 1) -> Iterator[None]:
    """Call again and again in threads for the length of a block; a call may fail."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(pause):
            with suppress(OSError, httpx.HTTPError):
                call()

    running = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in running:
            thread.join(30)


def read_model(found: Gate) -> None:
    """Ask for a model that the gate has not looked up before."""
    path = f"{API}/registered-models/get?name=none-{next(NUMBERS)}"
    found.ask("GET", path, headers=found.bearer(Purpose.PULL))


@contextmanager
def gate_away(world: World) -> Iterator[None]:
    with world.prometheus.scraping_nothing():
        yield


@contextmanager
def no_leader(world: World) -> Iterator[None]:
    """Run a replica that reaches no API server, beside a gate in another namespace that makes changes."""
    account = world.folder / f"account-{next(NUMBERS)}"
    account.mkdir()
    (account / "token").write_text("token")
    nowhere = f"--kubernetes-url=http://{HOST}:{free_port()}"
    replica = ("--lease=mlflow-efs/model-api-gate", "--replica=gate-0", f"--replica-address={HOST}")
    with world.gate(*replica, nowhere, f"--service-account={account}", namespace="other"):
        yield


@contextmanager
def full_audit_volume(world: World) -> Iterator[None]:
    with world.gate() as found:
        wine = wine_behind(found)
        version = wine.version()
        limits = (found.audit.stat().st_size + 10, resource.RLIM_INFINITY)
        resource.prlimit(found.process.popen.pid, resource.RLIMIT_FSIZE, limits)
        assert wine.move(version, "Staging", found.basic("jane")).status == 503
        yield


@contextmanager
def broken_gate(world: World) -> Iterator[None]:
    with world.gate(broken=BROKEN_GATE) as found, repeated(lambda: read_model(found)):
        yield


@contextmanager
def unclear_move(world: World) -> Iterator[None]:
    """Move one version, once, and lose MLflow's answer."""
    with relay(world.mlflow.uri) as between, world.gate(upstream=between.uri) as found:
        wine = wine_behind(found)
        version = wine.version()
        between.held, between.lost = "transition-stage", True
        wine.move(version, "Staging", found.basic("jane"))
        yield


@contextmanager
def mlflow_away(world: World) -> Iterator[None]:
    with ExitStack() as stack:
        between = stack.enter_context(relay(world.mlflow.uri))
        with world.gate(upstream=between.uri) as found:
            stack.close()
            with repeated(lambda: read_model(found)):
                yield


@contextmanager
def domino_fails(world: World) -> Iterator[None]:
    with (
        domino_users(DominoUsers(users={}, status=500)) as domino,
        world.gate(f"--domino-url={domino.url}", UNLIMITED) as found,
        repeated(lambda: found.ask("GET", f"{API}/experiments/search?max_results=1", headers=KEY)),
    ):
        yield


@contextmanager
def too_many_requests(world: World) -> Iterator[None]:
    with relay(world.mlflow.uri) as between, world.gate("--requests-per-caller=1", upstream=between.uri) as found:
        between.held = "registered-models/get"
        try:
            with repeated(lambda: read_model(found), threads=16):
                yield
                between.go.set()
        finally:
            between.go.set()


@contextmanager
def clients_that_do_not_go_on(world: World) -> Iterator[None]:
    half = head_of("GET", "/version")[:-4]
    with (
        world.gate() as found,
        ExitStack() as stack,
        repeated(lambda: [stack.enter_context(connected(found.uri, half)) for _ in range(10)], pause=1),
    ):
        yield


@contextmanager
def cut_answers(world: World) -> Iterator[None]:
    with relay(world.mlflow.uri) as between, world.gate(upstream=between.uri) as found:
        jane = found.basic("jane")
        for _ in range(8):
            with suppress(Exception):
                found.ask("GET", "/static-files/half", headers=jane)
        yield


@contextmanager
def guesses(world: World) -> Iterator[None]:
    guess = {"Authorization": "Bearer dmg1_r_guess"}
    with world.gate() as found, repeated(lambda: found.ask("GET", f"{API}/runs/get?run_id=1", headers=guess)):
        yield


@contextmanager
def unreadable_tokens(world: World) -> Iterator[None]:
    with world.gate() as found:
        found.ask("GET", "/readyz")
        found.secret_dir.rename(found.secret_dir.with_name("moved"))
        yield


@contextmanager
def tokens_with(world: World, **times: timedelta) -> Iterator[None]:
    """Run a gate with a token that was made, or ends, at these times from now."""
    with world.gate() as found:
        (found.secret_dir / meta_key(PROJECT)).write_text(token_times(found, **times))
        with repeated(lambda: found.ask("GET", "/readyz"), pause=1):
            yield


def token_times(found: Gate, **times: timedelta) -> str:
    """Return the file that says when the pull token of the project was made and ends."""
    entry = {name: (datetime.now(UTC) + difference).isoformat() for name, difference in times.items()}
    return json.dumps({"tokens": {fingerprint(found.token(Purpose.PULL)): entry}})


@contextmanager
def slow_mlflow(world: World) -> Iterator[None]:
    def late(exchange: Exchange) -> bool:
        if "registered-models/get" in exchange.path:
            time.sleep(2.6)
        return False

    with (
        reverse_proxy(world.mlflow.uri, late) as between,
        world.gate(upstream=between.uri) as found,
        repeated(lambda: read_model(found), threads=4),
    ):
        yield


@contextmanager
def certificate_that_ends(world: World) -> Iterator[None]:
    with world.webhook() as found:
        leaf = trustme.CA().issue_cert(HOST, not_after=datetime.now(UTC) + 13 * DAY)
        found.certificates.key.write_bytes(leaf.private_key_pem.bytes())
        found.certificates.certificate.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
        with repeated(lambda: found.ask("GET", "/readyz"), pause=1):  # the next connection has it read the files
            yield


@contextmanager
def foreign_registration(world: World) -> Iterator[None]:
    """Take the registration of the webhooks with self-managed certificates away."""
    world.plane.client.delete(f"{REGISTRATIONS}/{REGISTRATION}").raise_for_status()
    try:
        yield
    finally:
        world.plane.create(REGISTRATIONS, own_registration())


@contextmanager
def broken_webhook(world: World) -> Iterator[None]:
    def review() -> None:
        with suppress(AssertionError):
            found.review(POD)

    with world.webhook(broken=BROKEN_WEBHOOK) as found, repeated(review):
        yield


@contextmanager
def webhook_away(world: World) -> Iterator[None]:
    with registered(world.plane, "away", f"https://{HOST}:{free_port()}/mutate", b""), repeated(lambda: create(world)):
        yield


@contextmanager
def slow_webhook(world: World) -> Iterator[None]:
    with world.webhook(broken=SLOW_WEBHOOK) as found, repeated(lambda: found.review(POD)):
        yield


FAULTS: Mapping[str, Callable[[World], AbstractContextManager[None]]] = {
    "ModelApiGateAway": gate_away,
    "ModelApiGateNoLeader": no_leader,
    "ModelApiGateUnrecorded": full_audit_volume,
    "ModelApiGateFails": broken_gate,
    "ModelApiGateMovesUnclear": unclear_move,
    "ModelApiGateUpstreamAway": mlflow_away,
    "ModelApiGateDominoUnclear": domino_fails,
    "ModelApiGateBusy": too_many_requests,
    "ModelApiGateSlowClients": clients_that_do_not_go_on,
    "ModelApiGateAnswersCut": cut_answers,
    "ModelApiGateGuessed": guesses,
    "ModelApiGateTokensUnread": unreadable_tokens,
    "ModelApiGateTokenEnds": lambda world: tokens_with(world, expires=6 * DAY),
    "ModelApiGateTokenOld": lambda world: tokens_with(world, created=-181 * DAY),
    "ModelApiGateSlow": slow_mlflow,
    "ModelApiWebhookCertificateEnds": certificate_that_ends,
    "ModelApiWebhookNotTrusted": foreign_registration,
    "ModelApiWebhookFails": broken_webhook,
    "ModelApiWebhookPassedOver": webhook_away,
    "ModelApiWebhookSlow": slow_webhook,
}


def own_registration() -> Json:
    """Return the registration of the manifests, for namespaces that the tests do not have."""
    found: Json = yaml.safe_load((MANIFESTS / "base" / "mutating-webhook-configuration.yaml").read_text())
    return found


@contextmanager
def registered(plane: ControlPlane, name: str, url: str, authority: bytes) -> Iterator[None]:
    """Register a webhook of our name for the namespace of the tests."""
    registration = own_registration()
    registration["metadata"]["name"] = name
    for webhook in registration["webhooks"]:
        client = {"url": url} | ({"caBundle": base64.b64encode(authority).decode()} if authority else {})
        selector = {"matchLabels": {"kubernetes.io/metadata.name": MODELS}}
        webhook |= {"clientConfig": client, "namespaceSelector": selector}
    plane.create(REGISTRATIONS, registration)
    try:
        yield
    finally:
        plane.client.delete(f"{REGISTRATIONS}/{name}").raise_for_status()


def create(world: World) -> None:
    """Create a pod of a model as a dry run."""
    pod = deepcopy(POD)
    pod["metadata"]["namespace"] = MODELS
    world.plane.refusal(pod, MODELS)


def healthy(found: Gate, webhook: WebhookServer, world: World) -> None:
    """Send what a healthy installation sees in a second: few of these requests are refused."""
    wine, jane = wine_behind(found), found.basic("jane")
    found.ask("GET", "/readyz")
    wine.promoted()
    found.ask("GET", f"{API}/experiments/search?max_results=1", headers=KEY)
    found.ask("GET", f"{API}/experiments/search?max_results=1", headers=jane)
    webhook.review(POD)
    webhook.ask("POST", "/mutate", b"{", {"Content-Type": "application/json"})  # a client's error, not the webhook's
    create(world)


def unusual(found: Gate, webhook: WebhookServer) -> None:
    """Cause each event with a metric of its own once: a denied pod, a pod without a model, a client that hangs up."""
    denied, skipped = deepcopy(POD), deepcopy(POD)
    variables = denied["spec"]["containers"][0]["env"]
    next(entry for entry in variables if entry["name"] == "MLFLOW_MODEL_OWNER")["value"] = "../jane"
    del skipped["spec"]["containers"][0]["env"][1:]
    for pod in (denied, skipped):
        webhook.review(pod)
    head = head_of(
        "PUT",
        f"/api/2.0/mlflow-artifacts/artifacts/{wine_behind(found).directory}/cut.bin",
        {"Content-Length": "9"} | found.basic("jane"),
    )
    connected(found.uri, head + b"x").close()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the objects of the webhook's own certificates."""
    with control_plane(tmp_path_factory.mktemp("plane")) as found:
        for name in (PLATFORM, MODELS):
            found.create("/api/v1/namespaces", {"metadata": {"name": name}})
        found.create(f"/api/v1/namespaces/{MODELS}/serviceaccounts", {"metadata": {"name": "default"}})
        found.create(f"/api/v1/namespaces/{PLATFORM}/secrets", {"metadata": {"name": "model-api-webhook-tls"}})
        found.create(REGISTRATIONS, own_registration())
        yield found


@pytest.fixture(scope="module")
def world(plane: ControlPlane, mlflow_3_18: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Prometheus, a gate and two webhooks to which nothing happens, and requests to them each second."""
    folder, pki = tmp_path_factory.mktemp("world"), plane.kubeconfig.parent
    changed = {name: shortened_rule(rule) for name, rule in RULES.items()}
    for name, (number, shorter) in SHORTER.items():
        assert number in changed[name]["expr"]
        changed[name] |= {"expr": changed[name]["expr"].replace(number, shorter)}
    api_server = {
        "job_name": "apiserver",
        "scheme": "https",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "static_configs": [{"targets": [plane.client.base_url.netloc.decode()]}],
        "tls_config": {"ca_file": f"{pki}/ca.crt", "cert_file": f"{pki}/admin.crt", "key_file": f"{pki}/admin.key"},
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "regex": "apiserver_admission_webhook.*", "action": "keep"}
        ],
    }
    self_managed = {
        "MODEL_API_WEBHOOK_SERVER_CERTIFICATES": "self-managed",
        "MODEL_API_WEBHOOK_NAMESPACE": PLATFORM,
        "KUBECONFIG": str(plane.kubeconfig),
    }
    domino = DominoUsers(users={"jane": User(owned=(PROJECT,))}, keys={KEY["X-Domino-Api-Key"]: "jane"})
    with prometheus_server(folder, {"rules": list(changed.values())}, [api_server]) as prometheus, domino_users(domino):
        found = World(prometheus=prometheus, mlflow=mlflow_3_18, plane=plane, folder=folder)
        with (
            found.gate(f"--domino-url={domino.url}", UNLIMITED) as gate,
            found.webhook() as webhook,
            found.webhook(**self_managed),
            registered(plane, "reached", f"{webhook.url}/mutate", webhook.certificates.authority.read_bytes()),
        ):
            (gate.secret_dir / meta_key(PROJECT)).write_text(token_times(gate, created=-DAY, expires=100 * DAY))
            unusual(gate, webhook)
            with repeated(lambda: healthy(gate, webhook, found), pause=1):
                prometheus.until(
                    lambda: prometheus.ask("model_api_webhook_ca_bundle_in_sync == 1"), 60, "it is trusted"
                )
                yield found


def test_each_alert_of_the_manifests_has_a_fault() -> None:
    assert RULES.keys() == FAULTS.keys()


def test_no_alert_fires_without_a_fault(world: World) -> None:
    world.prometheus.until(lambda: not world.prometheus.firing(), 30, "nothing fires")
    time.sleep(15)  # more than each rule waits

    assert world.prometheus.firing() == set()


@pytest.mark.parametrize("alert", FAULTS)
def test_alert_fires_when_its_fault_is_made(world: World, alert: str) -> None:
    world.prometheus.until(lambda: alert not in world.prometheus.firing(), 60, "the alert is silent before the fault")
    with FAULTS[alert](world):
        world.prometheus.until(lambda: alert in world.prometheus.firing(), 90, alert)


@pytest.mark.parametrize("panel", QUERIES)
def test_query_of_the_dashboard_answers_with_numbers(world: World, panel: str) -> None:
    query = QUERIES[panel].replace("$__rate_interval", "1m")

    world.prometheus.until(lambda: world.prometheus.values(query), 30, query)
