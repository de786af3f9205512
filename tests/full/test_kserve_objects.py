"""Objects that KServe's own controller makes of an InferenceService, beside an API server without a node."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving_runtime.commands import manifest
from testbed.cluster.kube import Kube
from testbed.controllers.kserve_alone import admitted_pod, controller_alone
from testbed.kserve import pod_of

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "manifests" / "components" / "kserve"
EXAMPLES = ROOT / "manifests" / "examples" / "autoscaling"
RUNTIME, STORAGE = (
    yaml.safe_load((COMPONENT / name).read_text())
    for name in ("cluster-serving-runtime.yaml", "cluster-storage-container.yaml")
)

Json = dict[str, Any]


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with controller_alone(tmp_path_factory.mktemp("kserve")) as kube:
        kube.apply(RUNTIME, STORAGE)
        yield kube


def inference_service(name: str, storage_uri: str, **model: Any) -> Json:
    """Return an InferenceService that names no runtime."""
    spec = {"modelFormat": {"name": "mlflow"}, "storageUri": storage_uri} | model
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": spec}},
    }


def deployed(kube: Kube, service: Json) -> str:
    """Apply an InferenceService, and return the name of its Deployment once it is there."""
    name = f"{service['metadata']['name']}-predictor"
    kube.apply(service)
    kube.until(lambda: kube.attempt("get", "deployment", name).returncode == 0, seconds=60, what=name)
    return name


def runtime_of(kube: Kube, name: str) -> str | None:
    runtime: str | None = kube.get("inferenceservice", name).get("status", {}).get("clusterServingRuntimeName")
    return runtime


def claims_that_differ(claimed: Any, made: Any, place: str = "") -> Iterator[str]:
    """Yield each field of `claimed` that `made` has otherwise; items of lists are found by their names."""
    if isinstance(claimed, dict) and isinstance(made, dict):
        for key, value in claimed.items():
            yield from claims_that_differ(value, made.get(key), f"{place}.{key}")
    elif isinstance(claimed, list) and all(isinstance(item, dict) and "name" in item for item in claimed):
        named = {item["name"]: item for item in made or []}
        for item in claimed:
            yield from claims_that_differ(item, named.get(item["name"]), f"{place}[{item['name']}]")
    elif claimed != made:
        yield f"{place}: claimed {claimed!r}, made {made!r}"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("plain", {}),
        ("named", {"runtime": manifest.RUNTIME, "protocolVersion": "v1"}),
        ("flags", {"args": ["--workers=1", "--batch=off"], "env": [{"name": "OMP_NUM_THREADS", "value": "1"}]}),
        ("tagged", {"runtimeVersion": "0.2.0-xgboost"}),
        ("sized", {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}),
    ],
)
def test_stand_in_claims_nothing_that_the_controller_makes_otherwise(name: str, model: Json, kserve: Kube) -> None:
    service = inference_service(name, "mlflow://wine/3", **model)
    claimed = pod_of(RUNTIME, service, STORAGE)

    made = admitted_pod(kserve, deployed(kserve, service))

    assert [*claims_that_differ(claimed["spec"], made["spec"])] == []
    assert [*claims_that_differ(claimed["metadata"]["annotations"], made["metadata"]["annotations"])] == []


def test_stand_in_is_right_for_a_storage_uri_that_kserve_fetches_itself(kserve: Kube) -> None:
    service = inference_service("bucket", "s3://models/wine")
    claimed = pod_of(RUNTIME, service)
    del claimed["spec"]["initContainers"][0]["image"]  # its tag is that of the installation

    made = admitted_pod(kserve, deployed(kserve, service))

    assert [*claims_that_differ(claimed["spec"], made["spec"])] == []


def test_printed_manifest_is_accepted(kserve: Kube) -> None:
    deployed(kserve, manifest.inference_service("printed", "mlflow://wine@production"))

    assert kserve.until(lambda: runtime_of(kserve, "printed")) == manifest.RUNTIME


@pytest.mark.parametrize("version", [None, "1", "2", "3"])
@pytest.mark.parametrize("protocol", [None, "v1", "v2", "grpc-v2"])
def test_runtime_is_taken_without_being_named(version: str | None, protocol: str | None, kserve: Kube) -> None:
    name = f"auto-{version or 'any'}-{protocol or 'any'}"
    model_format = {"name": "mlflow"} | ({"version": version} if version else {})
    chosen = {"modelFormat": model_format} | ({"protocolVersion": protocol} if protocol else {})

    deployed(kserve, inference_service(name, "mlflow://wine/3", **chosen))

    assert kserve.until(lambda: runtime_of(kserve, name)) == manifest.RUNTIME


def test_several_models_are_fetched_into_one_pod(kserve: Kube) -> None:
    service = inference_service("several", "", args=["--model-path=/mnt/models/wine"])
    del service["spec"]["predictor"]["model"]["storageUri"]
    service["spec"]["predictor"]["storageUris"] = [
        {"uri": "mlflow://wine/3", "mountPath": "/mnt/models/wine"},
        {"uri": "mlflow://beer/1", "mountPath": "/mnt/models/beer"},
    ]
    claimed = pod_of(RUNTIME, service, STORAGE)

    made = admitted_pod(kserve, deployed(kserve, service))

    assert claimed["spec"]["initContainers"][0]["args"] == [
        *("mlflow://wine/3", "/mnt/models/wine"),
        *("mlflow://beer/1", "/mnt/models/beer"),
    ]
    assert [*claims_that_differ(claimed["spec"], made["spec"])] == []


def failure_in_events(kube: Kube, name: str, word: str) -> str | None:
    """Return what `kubectl describe` shows, once the word is in it."""
    described = kube("describe", "inferenceservice", name)
    return described if word in described else None


def test_scheme_that_no_container_takes_is_told_in_the_events_and_makes_nothing(kserve: Kube) -> None:
    kserve.apply(inference_service("scheme", "models://wine/3"))

    described = kserve.until(lambda: failure_in_events(kserve, "scheme", "StorageURI not supported"), seconds=60)

    assert "InternalError" in described
    assert kserve.attempt("get", "deployment", "scheme-predictor").returncode != 0


def test_service_of_an_inference_service_has_the_runtimes_port(kserve: Kube) -> None:
    deployed(kserve, inference_service("ports", "mlflow://wine/3"))
    port, *_ = kserve.get("service", "ports-predictor")["spec"]["ports"]

    assert (port["name"], port["port"], port["targetPort"]) == ("http1", 80, 8080)


def test_processor_time_of_an_inference_service_makes_an_autoscaler(kserve: Kube) -> None:
    (service,) = yaml.safe_load_all((EXAMPLES / "inference-service-processor-time.yaml").read_text())
    deployment = deployed(kserve, service)
    kserve.until(lambda: kserve.attempt("get", "hpa", deployment).returncode == 0)

    spec = kserve.get("hpa", deployment)["spec"]
    target = spec["metrics"][0]["resource"]["target"]
    assert (spec["minReplicas"], spec["maxReplicas"], target["averageUtilization"]) == (1, 4, 70)
    assert "stabilizationWindowSeconds" not in spec["behavior"]["scaleDown"]
    kserve("delete", "inferenceservice", service["metadata"]["name"])


def test_external_autoscaler_leaves_the_replicas_alone(kserve: Kube) -> None:
    service, scaled = yaml.safe_load_all((EXAMPLES / "inference-service-queue-depth.yaml").read_text())
    service["metadata"]["name"] = "external"
    deployment = deployed(kserve, service)
    kserve("scale", f"deployment/{deployment}", "--replicas=3")
    kserve("annotate", "inferenceservice", "external", "seen=yes")  # the controller looks at it again
    kserve.until(lambda: "seen" in kserve.get("deployment", deployment)["metadata"]["annotations"])

    assert kserve.get("deployment", deployment)["spec"]["replicas"] == 3
    assert kserve.attempt("get", "hpa", deployment).returncode != 0
    assert scaled["spec"]["scaleTargetRef"]["name"] == "wine-predictor"
