"""The Helm chart makes the same objects as kustomize, and refuses values that do not fit, without a cluster."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_contract.names import PLATFORM_NAMESPACE
from testbed.cluster import binaries
from testbed.cluster.machine import run
from testbed.helm import CHART, helm, named, objects_of, refusal, template
from webhook.registration import mutating_webhook, policy

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.name for path in MANIFESTS.glob("components/*"))
OFF = {"selfManagedCerts": {"enabled": False}, "policy": {"enabled": False}}
GATE_ADDRESS = "http://model-api-gate.mlflow-efs.svc:5000"
# Everything in which the chart differs from kustomize, and the reason. Helm itself adds the label
# app.kubernetes.io/managed-by and the annotations meta.helm.sh/* to each object that it applies; the chart adds none.
ADDED = {  # to the ConfigMaps of settings: pods of the former settings need theirs if a rollout fails
    "helm.sh/resource-policy": "keep",
    "argocd.argoproj.io/sync-options": "Prune=false",
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
}
LEFT_OUT = {
    ("Namespace",): "Helm makes the namespace of a release only (--create-namespace), and would delete others with it",
    ("Job", "model-api-fill"): "Helm cannot change a Job, and one that removes itself looks deleted to Argo CD",
    **dict.fromkeys(
        (
            ("Deployment", "mlflow"),
            ("Service", "mlflow"),
            ("ConfigMap", "train"),
            ("ConfigMap", "wine-quality-model"),
            *((kind, "train-wine-quality") for kind in ("Job", "ServiceAccount", "Role", "RoleBinding")),
            *((kind, "wine-quality") for kind in ("Deployment", "Service")),
        ),
        "the quickstart's MLflow, training and model API are to try it",
    ),
}

Json = dict[str, Any]


def in_order(objects: list[Json]) -> list[Json]:
    """Sort the volumes of pods: kustomize moves one that a component changes to the front, the chart leaves it."""
    for found in objects:
        spec = found.get("spec", {}).get("template", {}).get("spec", {})
        if "volumes" in spec:
            spec["volumes"].sort(key=lambda volume: str(volume["name"]))
    return objects


def kustomized(folder: Path) -> list[Json]:
    """Return the objects of kustomize that the chart has."""
    objects = objects_of(run(binaries.build() / "kubectl", "kustomize", folder))
    return [
        found
        for found in objects
        if (found["kind"],) not in LEFT_OUT and (found["kind"], found["metadata"]["name"]) not in LEFT_OUT
    ]


def charted(values: Json) -> list[Json]:
    """Return the objects of the chart without what it adds."""
    objects = template(values)
    for found in objects:
        if found["kind"] == "ConfigMap" and found["metadata"].get("annotations") == ADDED:
            del found["metadata"]["annotations"]
    return objects


def overlay_of(folder: Path, components: Sequence[str], settings: Mapping[str, str]) -> Path:
    """Write an overlay with the components that sets what each overlay sets."""
    folder.mkdir(exist_ok=True)
    manifests = os.path.relpath(MANIFESTS, folder)
    literals = {"MODEL_API_WEBHOOK_DELIVERY_IMAGE": "model-api-delivery:0.1.0", **settings}
    webhook = {"name": "model-api-webhook-settings", "namespace": PLATFORM_NAMESPACE, "behavior": "merge"}
    images = ("model-api-webhook", "model-api-gate")
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{manifests}/base"],
        "components": [f"{manifests}/components/{component}" for component in components],
        "configMapGenerator": [webhook | {"literals": [f"{name}={value}" for name, value in literals.items()]}],
        "images": [{"name": name, "newTag": "0.1.0"} for name in images],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def value_of(component: str) -> str:
    first, *others = component.split("-")
    return first + "".join(other.capitalize() for other in others)


def values_of(components: Sequence[str], settings: Mapping[str, str]) -> Json:
    switched = {value_of(component): {"enabled": True} for component in components}
    return OFF | switched | {"webhook": {"settings": {**settings}}}


def settings_of(components: Sequence[str]) -> dict[str, str]:
    """Return the settings that the chart asks for with the components."""
    stores = {"MODEL_API_WEBHOOK_OBJECT_STORES": "s3://models"} if "object-stores" in components else {}
    return stores | ({"MODEL_API_WEBHOOK_TRACKING_URI": GATE_ADDRESS} if "gate" in components else {})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_chart_makes_the_objects_of_each_overlay(overlay: str) -> None:
    values = yaml.safe_load((CHART / "values" / f"{overlay}.yaml").read_text())

    assert named(charted(values)) == named(kustomized(MANIFESTS / "overlays" / overlay))


COMBINATIONS = {
    "none": [],
    **{component: [component] for component in COMPONENTS if not component.startswith("gate-")},
    **{component: ["gate", component] for component in COMPONENTS if component.startswith("gate-")},
    "gate-pod-labels": ["gate", "gate-service-account-tokens", "gate-pod-labels"],
    "all with cert-manager": [one for one in COMPONENTS if one not in {"self-managed-certs", "shared-volume"}],
    "all with self-managed-certs": [one for one in COMPONENTS if one not in {"cert-manager", "object-stores"}],
}


@pytest.mark.parametrize("components", COMBINATIONS.values(), ids=COMBINATIONS)
def test_chart_makes_the_objects_of_components(components: list[str], tmp_path: Path) -> None:
    settings = settings_of(components)
    image = (
        {"MODEL_API_WEBHOOK_DELIVERY_IMAGE": "model-api-delivery:0.1.0-full"} if "object-stores" in components else {}
    )
    overlay = overlay_of(tmp_path / "overlay", components, settings | image)

    assert named(in_order(charted(values_of(components, settings)))) == named(in_order(kustomized(overlay)))


def test_key_without_a_value_is_an_empty_one() -> None:
    """As in a file of values in which everything below a key is commented out."""
    parts = ("podLabels", "podAnnotations", "settings", "nodeSelector", "tolerations", "affinity")
    empty = {"commonLabels": None, "webhook": dict.fromkeys(parts), "monitoring": {"enabled": True, "files": None}}

    assert template(empty) == template({"monitoring": {"enabled": True}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"certManager": {"enabled": True}},
            "selfManagedCerts.enabled and certManager.enabled are both true: one of them issues the certificate",
        ),
        (
            {"gate": {"enabled": True}},
            f"MODEL_API_WEBHOOK_TRACKING_URI is not set: set it to {GATE_ADDRESS}, or to MLflow's own address",
        ),
        ({"gateDomino": {"enabled": True}}, "gateDomino.enabled is true and gate.enabled is false: set both to true"),
        (
            {"gate": {"enabled": True}, "gatePodLabels": {"enabled": True}},
            "gatePodLabels.enabled is true and gateServiceAccountTokens.enabled is false",
        ),
        (
            {"webhook": {"enabled": False}, "monitoring": {"enabled": True}},
            "monitoring.enabled is true and webhook.enabled is false: set both to true",
        ),
        ({"webhook": {"enabled": False}}, "nothing is enabled: set webhook.enabled, gate.enabled or kserve.enabled"),
        ({"webhok": {}}, "additional properties 'webhok' not allowed"),
        ({"monitoring": None}, "missing property 'monitoring'"),
        ({"namespaces": {"models": None}}, "at '/namespaces': missing property 'models'"),
        ({"webhook": {"replica": 3}}, "additional properties 'replica' not allowed"),
        (
            {"webhook": {"settings": {"MODEL_API_WEBHOOK_TRAKING_URI": "http://mlflow"}}},
            "additional properties 'MODEL_API_WEBHOOK_TRAKING_URI' not allowed",
        ),
        (
            {"webhook": {"settings": {"MODEL_API_WEBHOOK_TOKEN": "maybe"}}},
            "value must be one of 'pull', 'service-account', 'none'",
        ),
        ({"webhook": {"settings": {"MODEL_API_WEBHOOK_CPU_LIMIT": 2}}}, "got number, want string"),
        ({"images": {"webhook": {"repository": ""}}}, "images.webhook.repository is empty: set it to the image"),
        ({"images": {"gate": {"digest": "sha256:1"}}}, "/images/gate/digest': 'sha256:1' does not match pattern"),
        (
            {"webhook": {"settings": {"MODEL_API_WEBHOOK_DELIVERY_IMAGE": "delivery"}}},
            "webhook.settings.MODEL_API_WEBHOOK_DELIVERY_IMAGE is set by images.delivery: remove it",
        ),
        (
            {"webhook": {"settings": {"MODEL_API_WEBHOOK_MODEL_IMAGE": "registry.example/models:{run_id}"}}},
            "MODEL_API_WEBHOOK_MODEL_IMAGE must be a repository with {project_id} as a whole part of its path",
        ),
        (
            {"webhook": {"settings": {"MODEL_API_WEBHOOK_DELIVERY": "image"}}},
            "MODEL_API_WEBHOOK_MODEL_IMAGE must be a repository with {project_id}",
        ),
        (
            {"webhook": {"settings": {"MODEL_API_WEBHOOK_DELIVERY": "volume"}}},
            "MODEL_API_WEBHOOK_DELIVERY is volume: set sharedVolume.enabled to true",
        ),
        ({"objectStores": {"enabled": True}}, "set webhook.settings.MODEL_API_WEBHOOK_OBJECT_STORES"),
        (
            {"objectStores": {"enabled": True}, "sharedVolume": {"enabled": True}},
            "objectStores.enabled and sharedVolume.enabled are both true",
        ),
        ({"namespaces": {"models": PLATFORM_NAMESPACE}}, "pods in the webhook's own namespace get no model"),
        ({"commonLabels": {"app.kubernetes.io/name": "mine"}}, "commonLabels must not have app.kubernetes.io/name"),
        (
            {"webhook": {"podLabels": {"app.kubernetes.io/name": "mine"}}},
            "webhook.podLabels must not have app.kubernetes.io/name",
        ),
        ({"images": {"webhook": {"tag": "1.0\nkind: Secret"}}}, "/images/webhook/tag"),
        ({"webhook": {"resources": {"limits": {"memory": "256MB"}}}}, "/webhook/resources/limits/memory"),
        ({"webhook": {"resources": {"limit": {"memory": "256Mi"}}}}, "additional properties 'limit' not allowed"),
        ({"gate": {"auditStorage": "10 Gi"}}, "/gate/auditStorage"),
        ({"gate": {"tokensSecret": None}}, "at '/gate': missing property 'tokensSecret'"),
        ({"gate": {"priorityClassName": "High Priority"}}, "/gate/priorityClassName"),
        ({"images": {"gate": {"repository": "model-api-gate:1.0"}}}, "/images/gate/repository"),
        ({"images": {"registry": "https://registry.example.com"}}, "/images/registry"),
        ({"commonLabels": {"team": "data science"}}, "/commonLabels/team"),
        ({"webhook": {"podLabels": {"team/": "x"}}}, "'team/' does not match pattern"),
        ({"gate": {"nodeSelector": {"zone": "x" * 64}}}, "/gate/nodeSelector/zone"),
        ({"webhook": {"podAnnotations": {"a b": "x"}}}, "'a b' does not match pattern"),
        ({"images": {"pullSecrets": ["My_Secret"]}}, "/images/pullSecrets/0"),
        ({"sharedVolume": {"projects": ["wine", "wine"]}}, "at '/sharedVolume/projects': items at 0 and 1 are equal"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistake_ends_in_a_sentence(values: Json, message: str) -> None:
    assert message in refusal(values)


def test_values_reach_the_objects() -> None:
    pod = {
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "resources": {"limits": {"memory": "1Gi"}},
        "podLabels": {"team": "ml"},
        "podAnnotations": {"note": "yes"},
    }
    digest = f"sha256:{'a' * 64}"
    values = {
        "commonLabels": {"owner": "platform"},
        "namespaces": {"models": "models", "mlflow": "tracking", "monitoring": "prometheus"},
        "images": {
            "registry": "registry.example.com/team/",
            "pullSecrets": ["acme"],
            "webhook": {"digest": digest},
            "delivery": {"tag": "0.1.1"},
        },
        "webhook": {"replicas": 5, **pod},
        "highAvailability": {"enabled": True},
        "monitoring": {"enabled": True, "files": {"model-api-webhook.json": "{}\n"}},
        "sharedVolume": {"enabled": True, "projects": ["66c0a1b2c3d4e5f601234567"], "trackingUri": "http://mlflow"},
        "gate": {
            "enabled": True,
            "tokensSecret": "mlflow-model-secret",
            "auditStorage": "1Gi",
            "auditStorageClass": "gp3",
            "mlflowPodLabels": {"app": "mlflow"},
        },
    }
    values["webhook"]["settings"] = {"MODEL_API_WEBHOOK_TRACKING_URI": "http://gate"}  # type: ignore[index]
    objects = named(template(values, namespace="webhooks"))
    deployment = objects["Deployment", "webhooks", "model-api-webhook"]
    template_of_pod = deployment["spec"]["template"]
    spec, (container,) = template_of_pod["spec"], template_of_pod["spec"]["containers"]
    settings = next(found for key, found in objects.items() if key[2].startswith("model-api-webhook-settings-"))

    assert not [found for found in objects.values() if "domino" in str(found["metadata"].get("namespace"))]
    assert all(found["metadata"]["labels"]["owner"] == "platform" for found in objects.values())
    assert deployment["spec"]["replicas"] == 5
    assert {name: spec[name] for name in ("nodeSelector", "tolerations", "affinity")} == {
        name: pod[name] for name in ("nodeSelector", "tolerations", "affinity")
    }
    assert spec["imagePullSecrets"] == [{"name": "acme"}]
    assert container["image"] == f"registry.example.com/team/model-api-webhook@{digest}"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert template_of_pod["metadata"]["labels"]["team"] == "ml"
    assert template_of_pod["metadata"]["annotations"] == {"note": "yes"}
    assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert settings["data"]["MODEL_API_WEBHOOK_DELIVERY_IMAGE"] == "registry.example.com/team/model-api-delivery:0.1.1"
    assert settings["data"]["MODEL_API_WEBHOOK_NAMESPACE"] == "webhooks"
    (webhook,) = objects["MutatingWebhookConfiguration", "", "model-api-webhook"]["webhooks"]
    assert webhook["clientConfig"]["service"]["namespace"] == "webhooks"
    assert "webhooks" in webhook["namespaceSelector"]["matchExpressions"][1]["values"]
    assert objects["ConfigMap", "webhooks", "model-api-webhook-dashboard"]["data"] == {"model-api-webhook.json": "{}\n"}
    scraper = objects["NetworkPolicy", "webhooks", "model-api-webhook-metrics"]["spec"]["ingress"][0]["from"][0]
    assert scraper["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "prometheus"}
    gate = objects["Deployment", "tracking", "model-api-gate"]["spec"]["template"]["spec"]
    assert gate["volumes"][0]["secret"]["secretName"] == "mlflow-model-secret"
    claim = objects["PersistentVolumeClaim", "tracking", "model-api-gate-audit"]["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("1Gi", "gp3")
    policy = objects["NetworkPolicy", "tracking", "mlflow-from-gate-only"]
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app": "mlflow"}
    sync = objects["CronJob", "models", "model-api-sync"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert sync["volumes"][0]["projected"]["sources"] == [
        {
            "secret": {
                "name": "mlflow-pull-66c0a1b2c3d4e5f601234567",
                "items": [{"key": "token", "path": "66c0a1b2c3d4e5f601234567"}],
            }
        }
    ]
    assert objects["ConfigMap", "models", "model-api-sync-settings"]["data"] == {"MLFLOW_TRACKING_URI": "http://mlflow"}


def test_webhook_in_another_namespace_is_registered_as_the_command_prints_it() -> None:
    printed = [mutating_webhook("webhooks"), *policy("webhooks")]
    objects = named(template({}, namespace="webhooks"))

    assert {key: objects[key] for key in named(printed)} == named(printed)


def test_each_render_is_the_same() -> None:
    assert template() == template()


def test_helm_finds_no_fault() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)
