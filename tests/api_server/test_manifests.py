"""The manifests as kustomize builds them: names that match, pods that are locked down, images named once."""

import json
import re
import shlex
import shutil
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_contract.names import PROJECT_TOKENS_SECRETS
from testbed.cluster import binaries
from testbed.cluster.machine import run
from tracking_gate.cli import serve
from webhook.settings import Settings

MANIFESTS = Path(__file__).parents[2] / "manifests"
HOW_TO = MANIFESTS.parent / "docs" / "how-to"
OVERLAYS = sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
OF_OTHERS = {
    "model-api-to-mlflow",
    "mlflow-from-gate-only",
}  # policies of pods that Domino makes, and of an MLflow that is there already
AUTHOR = ["-c", "user.name=admin", "-c", "user.email=admin@example.com"]
GATED = ["gate", "production-gate"]

Json = dict[str, Any]


@pytest.fixture(params=OVERLAYS)
def built(request: pytest.FixtureRequest) -> list[Json]:
    return build(request.param)


def build(overlay: str) -> list[Json]:
    return [found for found in yaml.safe_load_all(kustomized(overlay)) if found]


@cache
def kustomized(overlay: str) -> str:
    return run(binaries.build() / "kubectl", "kustomize", MANIFESTS / "overlays" / overlay)


def templates(objects: list[Json]) -> list[tuple[str, Json]]:
    """Return namespace and template of every object that makes pods."""
    return [
        (found["metadata"]["namespace"], found["spec"]["template"])
        for found in objects
        if found["kind"] in {"Deployment", "Job"}
    ]


def selected(objects: list[Json], namespace: str, selector: Json) -> list[Json]:
    wanted = selector.get("matchLabels", selector)
    return [
        template
        for place, template in templates(objects)
        if place == namespace and wanted.items() <= template["metadata"]["labels"].items()
    ]


def test_there_are_overlays() -> None:
    assert {"quickstart", "production", "domino", "standalone", *GATED} <= set(OVERLAYS)


def test_plain_cluster_needs_no_checkout_and_nothing_that_is_not_there(tmp_path: Path) -> None:
    """The overlay of docs/how-to/install-webhook.md, as an admin writes it beside no checkout."""
    origin, own = tmp_path / "origin", tmp_path / "own"
    shutil.copytree(MANIFESTS, origin / "manifests")
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        [*AUTHOR, "commit", "--quiet", "--message=manifests"],
    ):
        run("git", "-C", origin, *command)
    own.mkdir()
    page = (MANIFESTS.parent / "docs" / "how-to" / "install-webhook.md").read_text().partition("## A plain cluster")[2]
    text = textwrap.dedent(page.partition("```yaml\n")[2].partition("```")[0])
    address = re.search(r"https://\S+//manifests/overlays/standalone\?ref=\S+", text)
    assert address
    (own / "kustomization.yaml").write_text(
        text.replace(address[0], f"file://{origin}//manifests/overlays/standalone?ref=main")
    )
    objects = [one for one in yaml.safe_load_all(run(binaries.build() / "kubectl", "kustomize", own)) if one]

    (settings,) = (one["data"] for one in objects if one["kind"] == "ConfigMap")
    images = [container["image"] for _, template in templates(objects) for container in template["spec"]["containers"]]
    assert images == ["registry.example.com/model-api-webhook:0.1.0"]
    assert settings["MODEL_API_WEBHOOK_DELIVERY_IMAGE"] == "registry.example.com/model-api-delivery:0.1.0"
    assert settings["MODEL_API_WEBHOOK_TRACKING_URI"] == "http://mlflow.tracking.svc:5000"
    made = {one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"}
    assert {one["metadata"].get("namespace") for one in objects} - {None} <= made
    assert not [
        one["apiVersion"]
        for one in objects
        if "cert-manager.io" in one["apiVersion"] or "coreos.com" in one["apiVersion"]
    ]


def of_the_page(page: str, tmp_path: Path) -> list[Json]:
    """Build an admin's overlay of production with the first YAML of a page."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    own = tmp_path / "manifests" / "overlays" / "own"
    own.mkdir()
    block = textwrap.dedent(re.split(r" *```yaml\n", (HOW_TO / page).read_text())[1].partition("```")[0])
    (own / "kustomization.yaml").write_text(f"resources: [../production]\n{block}")
    text = run(binaries.build() / "kubectl", "kustomize", own)
    return [found for found in yaml.safe_load_all(text) if found]


def settings_of(objects: list[Json]) -> Settings:
    (found,) = (one["data"] for one in objects if one["metadata"]["name"].startswith("model-api-webhook-settings"))
    return Settings.from_mapping(found)


def test_overlay_of_the_page_about_images_mounts_them(tmp_path: Path) -> None:
    settings = settings_of(of_the_page("deliver-by-image.md", tmp_path))

    assert settings.delivery == "image"
    assert settings.image_pull_secrets == ("acme-registry",)
    assert settings.model_image is not None
    assert settings.model_image.text == "registry.example/models/{project_id}:{run_id}"


def test_overlay_and_secret_of_the_page_about_object_stores_fit_each_other(tmp_path: Path) -> None:
    page = (HOW_TO / "read-models-from-an-object-store.md").read_text()
    objects = of_the_page("read-models-from-an-object-store.md", tmp_path)
    line = page.partition("     kubectl ")[2].partition("```")[0].replace("\\\n", " ")
    content = tmp_path / "content"
    content.write_text("testbed")
    command = shlex.split(line.replace("<file>", str(content)))
    secret = json.loads(run(binaries.build() / "kubectl", *command, "--dry-run=client", "--output=json"))

    settings = settings_of(objects)
    assert settings.object_stores == "s3://models"
    assert settings.object_store_secret == secret["metadata"]["name"]
    assert settings.delivery_image.endswith(":0.1.0-full")
    (row,) = re.findall(r"^\| S3 \|.*$", page, re.MULTILINE)
    assert set(secret["data"]) <= set(re.findall(r"AWS_[A-Z_]+", row))
    assert "NetworkPolicy" in {one["kind"] for one in objects}


@pytest.mark.parametrize(("overlay", "pod"), [("production", "webhook"), ("gate", "gate")])
def test_ports_and_sizes_of_the_page_are_those_of_the_manifests(overlay: str, pod: str) -> None:
    page = (MANIFESTS.parent / "docs" / "reference" / "requirements.md").read_text()
    ((_, template),) = templates(build(overlay))
    (container,) = template["spec"]["containers"]
    resources = container["resources"]

    assert {int(port) for port in re.findall(rf"\| {pod} \| (\d+) \|", page)} == {
        port["containerPort"] for port in container["ports"]
    }
    wanted = (
        f"| {pod} | {resources['requests']['cpu']}, {resources['requests']['memory']} | {resources['limits']['memory']}"
    )
    assert wanted in page


def test_each_selector_of_the_manifests_selects_a_pod(built: list[Json]) -> None:
    selectors = {
        "NetworkPolicy": lambda spec: spec["podSelector"],
        "PodDisruptionBudget": lambda spec: spec["selector"],
        "Service": lambda spec: spec["selector"],
        "Deployment": lambda spec: spec["selector"],
    }
    found = [thing for thing in built if thing["kind"] in selectors]

    assert len(found) >= 3
    for thing in found:
        if thing["metadata"]["name"] in OF_OTHERS:
            continue
        assert selected(built, thing["metadata"]["namespace"], selectors[thing["kind"]](thing["spec"])), thing[
            "metadata"
        ]


def test_ports_of_services_and_policies_are_ports_of_containers(built: list[Json]) -> None:
    ports = {
        port["name"]
        for _, template in templates(built)
        for container in template["spec"]["containers"]
        for port in container.get("ports", [])
    }

    for thing in built:
        if thing["kind"] == "Service":
            assert {port["targetPort"] for port in thing["spec"]["ports"]} <= ports
        if thing["kind"] == "NetworkPolicy":
            named = [port["port"] for rule in thing["spec"].get("ingress", []) for port in rule.get("ports", [])]
            assert {port for port in named if isinstance(port, str)} <= ports


def test_registration_names_the_service_that_is_there(built: list[Json]) -> None:
    services = {
        (thing["metadata"]["namespace"], thing["metadata"]["name"]) for thing in built if thing["kind"] == "Service"
    }
    registrations = [thing for thing in built if thing["kind"] == "MutatingWebhookConfiguration"]

    assert registrations or {name for _, name in services} == {"model-api-gate"}
    for webhook in (webhook for registration in registrations for webhook in registration["webhooks"]):
        service = webhook["clientConfig"]["service"]
        assert (service["namespace"], service["name"]) in services
        assert "caBundle" not in webhook["clientConfig"]


def test_every_pod_is_restricted(built: list[Json]) -> None:
    for _, template in templates(built):
        assert "automountServiceAccountToken" in template["spec"]  # policies of admins do not look at the account
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        assert template["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def only(built: list[Json], kind: str, name: str) -> Json:
    found: Json = next(
        thing
        for thing in built
        if (thing["kind"], thing["metadata"]["name"].partition("-settings-")[0]) == (kind, name)
    )
    return found


@pytest.mark.parametrize("overlay", GATED)
def test_gate_is_all_that_reaches_mlflow(overlay: str) -> None:
    built = build(overlay)
    gate = only(built, "Deployment", "model-api-gate")["spec"]["template"]["metadata"]["labels"]
    mlflow = next(
        template
        for _, template in templates(build("quickstart"))
        if template["spec"]["containers"][0]["image"].endswith("v3.17.2")
    )
    policy = only(built, "NetworkPolicy", "mlflow-from-gate-only")
    [rule] = policy["spec"]["ingress"]

    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= mlflow["metadata"]["labels"].items()
    assert [place["podSelector"]["matchLabels"].items() <= gate.items() for place in rule["from"]] == [True]
    assert not [place for place in rule["from"] if "namespaceSelector" in place]
    out = only(built, "NetworkPolicy", "model-api-gate")["spec"]["egress"][0]["to"][0]
    assert out["podSelector"] == policy["spec"]["podSelector"]


@pytest.mark.parametrize("overlay", GATED)
def test_gate_is_one_process_with_tokens_and_a_log_that_stay(overlay: str) -> None:
    built = build(overlay)
    deployment = only(built, "Deployment", "model-api-gate")["spec"]
    pod = deployment["template"]["spec"]
    [container] = pod["containers"]
    settings = only(built, "ConfigMap", "model-api-gate")["data"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}

    assert (deployment["replicas"], deployment["strategy"]["type"], pod["automountServiceAccountToken"]) == (
        1,
        "Recreate",
        False,
    )
    tokens = mounts[settings["MODEL_API_GATE_SERVE_SECRET_DIR"]]
    assert volumes[tokens["name"]]["secret"]["secretName"] == PROJECT_TOKENS_SECRETS[0]
    assert "subPath" not in tokens
    log = mounts[str(Path(settings["MODEL_API_GATE_SERVE_AUDIT_LOG"]).parent)]
    assert only(built, "PersistentVolumeClaim", volumes[log["name"]]["persistentVolumeClaim"]["claimName"])
    options = {f"MODEL_API_GATE_SERVE_{(parameter.name or '').upper()}" for parameter in serve.params}
    assert settings.keys() <= options


def test_images_have_a_version(built: list[Json]) -> None:
    for _, template in templates(built):
        for container in template["spec"]["containers"]:
            assert re.search(r"[:@][^/]+$", container["image"]), container["image"]
