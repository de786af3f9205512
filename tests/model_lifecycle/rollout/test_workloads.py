"""Of a workload: the state that it is in, the patch to another, and the judgement of its pods."""

from typing import Any

import pytest

from model_lifecycle.errors import InvalidError, LifecycleError, PreconditionError
from model_lifecycle.rollout.desired_version import DesiredVersion
from model_lifecycle.rollout.readiness import is_selected, readiness
from model_lifecycle.rollout.target import Kind, Target, parse_target
from model_lifecycle.rollout.workloads import DeploymentWorkload, InferenceServiceWorkload

Json = dict[str, Any]

RUN = "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"
DIGEST = "sha256:" + "0" * 64
WINE = DesiredVersion(name="wine", version="3", run_id=RUN, owner="", digest="")
PRESENT = {"MLFLOW_MODEL_NAME": "wine", "MLFLOW_MODEL_OWNER": "jane", "MLFLOW_MODEL_VERSION": "2"}


def deployment(*containers: Json, **spec: Any) -> DeploymentWorkload:
    template = {"metadata": {}, "spec": {"containers": list(containers)}}
    return DeploymentWorkload(document={"metadata": {"name": "wine"}, "spec": {"template": template, **spec}})


def container(variables: dict[str, str], name: str = "model", **more: Any) -> Json:
    return {"name": name, "env": [{"name": key, "value": value} for key, value in variables.items()], **more}


def inference_service(uri: str = "mlflow://wine/2", canary: bool = False, **spec: Any) -> InferenceServiceWorkload:
    model = {"modelFormat": {"name": "mlflow"}, "storageUri": uri}
    document = {"metadata": {"name": "wine"}, "spec": {"predictor": {"model": model}, **spec}}
    return InferenceServiceWorkload(document=document, canary=canary, percent=20)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("deployment/wine", Kind.DEPLOYMENT, "wine"),
        ("deploy/wine", Kind.DEPLOYMENT, "wine"),
        ("deployments/wine", Kind.DEPLOYMENT, "wine"),
        ("deployment.apps/wine", Kind.DEPLOYMENT, "wine"),
        ("inferenceservice.serving.kserve.io/wine", Kind.INFERENCE_SERVICE, "wine"),
        ("isvc/wine.v2", Kind.INFERENCE_SERVICE, "wine.v2"),
        ("inferenceservice/w", Kind.INFERENCE_SERVICE, "w"),
    ],
)
def test_target_has_the_names_of_kubectl(text: str, kind: Kind, name: str) -> None:
    assert parse_target(text, "ns") == Target(kind=kind, name=name, namespace="ns")


@pytest.mark.parametrize(
    "text",
    [
        "wine",
        "pod/wine",
        "deployment.kserve/wine",
        "deployment/",
        "/wine",
        "deployment/Wine",
        "deployment/a/b",
        "deployment/../x",
        "",
    ],
)
def test_target_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is no workload"):
        parse_target(text, "ns")


def test_deployment_keeps_its_owner_and_gets_version_and_run() -> None:
    found = deployment(container({"MLFLOW_MODEL_NAME": "beer"}, "other") | {"env": []}, container(PRESENT))
    wanted = found.state_of(WINE)

    assert wanted == PRESENT | {"MLFLOW_MODEL_VERSION": "3", "MLFLOW_RUN_ID": RUN}
    patched = found.patch_to(wanted)["spec"]["template"]["spec"]["containers"]
    assert patched == [{"name": "model", "env": [{"name": key, "value": value} for key, value in wanted.items()]}]


def test_variable_that_was_not_there_goes_with_the_way_back() -> None:
    found = deployment(container(PRESENT))
    patched = found.patch_to(found.state())["spec"]["template"]["spec"]["containers"][0]["env"]

    assert {"name": "MLFLOW_RUN_ID", "$patch": "delete"} in patched


REFERENCE = {"name": "MLFLOW_RUN_ID", "valueFrom": {"configMapKeyRef": {"name": "wine", "key": "run"}}}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (deployment(container({})), "no container has the variable MLFLOW_MODEL_NAME"),
        (deployment(container(PRESENT), container(PRESENT, "second")), "name one with --container"),
        (deployment(container(PRESENT), paused=True), "is paused"),
        (deployment({"name": "m", "env": [*container(PRESENT)["env"], REFERENCE]}), "comes from another object"),
        (deployment(container(PRESENT | {"MLFLOW_MODEL_NAME": "beer"})), "serves 'beer', and not 'wine'"),
        (deployment(container({"MLFLOW_MODEL_NAME": "wine"})), "the owner of 'wine' version 3 is not known"),
        (deployment(container(PRESENT | {"MLFLOW_MODEL_OWNER": "../x"})), "MLFLOW_MODEL_OWNER"),
        (inference_service("s3://models/wine"), "'s3://models/wine'"),
        (
            InferenceServiceWorkload(document=inference_service().document | {"status": {"deploymentMode": "Knative"}}),
            "is in KServe's mode Knative",
        ),
    ],
)
def test_workload_that_a_rollout_cannot_change_is_refused(found: Any, reason: str) -> None:
    with pytest.raises(LifecycleError) as caught:
        found.state()
        found.state_of(WINE)
    assert isinstance(caught.value, InvalidError | PreconditionError)
    assert reason in str(caught.value)


def test_storage_uri_has_version_and_digest() -> None:
    found = inference_service()

    assert found.state_of(WINE) == {"storageUri": "mlflow://wine/3"}
    odd = DesiredVersion(name="red wine?", version="3", run_id=RUN, owner="", digest=DIGEST)
    assert found.state_of(odd) == {"storageUri": f"mlflow://red%20wine%3F/3?digest={DIGEST}"}
    assert found.patch_to({"storageUri": "mlflow://wine/3"}) == {
        "spec": {"predictor": {"model": {"storageUri": "mlflow://wine/3"}}}
    }


def test_canary_is_made_beside_others_and_goes_with_the_change_of_the_service() -> None:
    other = {"predictor": {"name": "theirs"}, "trafficPercent": 0}
    found = inference_service(canary=True)
    made = found.patch_to({"storageUri": "mlflow://wine/3"})["spec"]["canary"]

    assert found.state() == {"storageUri": None}
    assert found.deployment == "wine-canary-predictor"
    assert made == [
        {
            "predictor": {
                "name": "canary",
                "minReplicas": 1,
                "model": {"modelFormat": {"name": "mlflow"}, "storageUri": "mlflow://wine/3"},
            },
            "trafficPercent": 20,
        }
    ]
    beside = inference_service(canary=True, canaries=None)
    beside.document["spec"]["canary"] = [other, *made]
    assert beside.state() == {"storageUri": "mlflow://wine/3"}
    assert beside.patch_to({"storageUri": None}) == {"spec": {"canary": [other]}}
    full = InferenceServiceWorkload(document=beside.document)
    assert full.deployment == "wine-predictor"
    assert full.patch_to({"storageUri": "mlflow://wine/3"})["spec"]["canary"] == [other]
    full.document["spec"]["canary"] = made
    assert full.patch_to({"storageUri": "mlflow://wine/3"})["spec"]["canary"] is None


def status(**fields: Any) -> Json:
    return {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2, **fields}}


def fetch_ended(code: int, restarts: int = 1) -> Json:
    ended = {"exitCode": code, "message": "no\nsuch version"}
    init = {"name": "mlflow-model-init", "restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    return {"metadata": {}, "status": {"initContainerStatuses": [init | {"lastState": {"terminated": ended}}]}}


@pytest.mark.parametrize(
    ("found", "pods", "done", "failed", "text"),
    [
        (status() | {"metadata": {"generation": 3}}, [], False, False, "Kubernetes has not seen the change"),
        (status(updatedReplicas=1, replicas=3, availableReplicas=2), [], False, False, "1 of 2 new pods available"),
        (status(updatedReplicas=2, replicas=2, availableReplicas=2), [], True, False, "2 of 2 pods available"),
        # An old pod that is still there may answer.
        (status(updatedReplicas=2, replicas=3, availableReplicas=3), [], False, False, "2 of 2 new pods available"),
        (status(updatedReplicas=2, replicas=2), [fetch_ended(5)], False, True, "mlflow-model-init: no such version"),
        (status(updatedReplicas=2, replicas=2), [fetch_ended(8)], False, False, "mlflow-model-init: no such version"),
        (status(updatedReplicas=2, replicas=2), [fetch_ended(5, 0)], False, False, "no such version"),
        (
            status(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "quota"}]),
            [],
            False,
            False,
            "0 of 2 new pods available: quota",
        ),
        (
            status(
                conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
                updatedReplicas=1,
                replicas=3,
            ),
            [],
            False,
            True,
            "0 of 2",
        ),
    ],
)
def test_readiness_is_that_of_all_pods(found: Json, pods: list[Json], done: bool, failed: bool, text: str) -> None:
    now = readiness(found, pods)

    assert (now.done, now.failed) == (done, failed)
    assert text in now.text


@pytest.mark.parametrize(("before", "failed"), [(None, True), ("2026-12-01T10:00:00Z", False), ("earlier", True)])
def test_deadline_that_was_exceeded_before_the_change_is_no_failure_of_it(before: str | None, failed: bool) -> None:
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    found = status(conditions=[exceeded | {"lastUpdateTime": "2026-12-01T10:00:00Z"}], updatedReplicas=1, replicas=2)

    assert readiness(found, [], timed_out_before=before).failed is failed


def test_deployment_without_replicas_is_done() -> None:
    assert readiness(status() | {"spec": {"replicas": 0}}, []).done


IN: Json = {"key": "track", "operator": "In", "values": ["stable", "beta"]}
NOT_IN: Json = {"key": "track", "operator": "NotIn", "values": ["shadow"]}
EXISTS: Json = {"key": "track", "operator": "Exists"}
ABSENT: Json = {"key": "track", "operator": "DoesNotExist"}


@pytest.mark.parametrize(
    ("labels", "taken"),
    [
        ({"app": "wine", "track": "beta"}, [IN, NOT_IN, EXISTS]),
        ({"app": "wine", "track": "shadow"}, [EXISTS]),
        ({"app": "wine"}, [NOT_IN, ABSENT]),
        ({"track": "beta"}, []),
        ({}, []),
    ],
)
def test_pods_are_those_of_labels_and_expressions(labels: dict[str, str], taken: list[Json]) -> None:
    """As the API server's selectors: NotIn takes a pod without the label."""
    pod = {"metadata": {"labels": labels} if labels else {}}

    for expression in (IN, NOT_IN, EXISTS, ABSENT):
        selector = {"matchLabels": {"app": "wine"}, "matchExpressions": [expression]}
        assert is_selected({"spec": {"selector": selector}}, pod) == (expression in taken)
