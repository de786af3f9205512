"""A Deployment follows what is in Production, by the commands of docs/how-to/follow-production.md on the cluster.

The gate stands in front of MLflow, and the CronJob asks it with the project's pull token, as the manifest says. So does
the Job of docs/reference/lifecycle-commands.md, whose image is the same.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_contract.model_ref import ModelRef
from testbed.cluster import images
from testbed.cluster.images import HUB, Image
from testbed.cluster.kube import Kube, load_image
from testbed.cluster.workloads import COMPUTE, MLFLOW, literals, model_deployment, settings
from testbed.delivery import Delivery
from testbed.gate import API, ask
from testbed.pages import HOW_TO, ROOT, Shell, blocks
from testbed.registered import files_below
from tests.cluster.test_gate import ADDRESS, GATE, Gated, basic, gated, moved  # noqa: F401  a fixture
from tests.upgrades.conftest import PROXY, Registered

PAGE = "follow-production"
COMMANDS = Image(tag=f"{HUB}/model-api-lifecycle:0.1.0", dockerfile="Dockerfile.lifecycle")
NUMBERS = re.compile(r"[0-9a-f]{32}|\d+")


@pytest.fixture
def second(gated: Gated, wine: ModelRef, tmp_path: Path) -> Iterator[ModelRef]:  # noqa: F811  fixtures
    """A second version of the quickstart's model, of a run of its own; none is promoted after the test."""
    with gated.kube.forwarded(MLFLOW, "mlflow", 5000) as mlflow:
        delivery = Delivery(directory=tmp_path, uri=mlflow)
        assert delivery.fetch(wine).code == 0
        run = ask(mlflow, "GET", f"{API}/runs/get?run_id={wine.run_id}").json["run"]["info"]
        model = Registered(uri=mlflow, name=wine.name, experiment=run["experiment_id"])
        files = files_below(delivery.model(wine))
        ref = model.version(files)
        mlmodel = files["MLmodel"].replace(wine.run_id.encode(), ref.run_id.encode())
        place = f"{PROXY}/{model.experiment}/{ref.run_id}/artifacts/model/MLmodel"
        assert ask(mlflow, "PUT", place, mlmodel).status == 200  # a model names its run, which the rollout asks for
    yield ref
    with gated.kube.forwarded(MLFLOW, "mlflow", 5000) as mlflow:
        for each in (wine, ref):
            assert moved(mlflow, each, "None", {}).status == 200


@pytest.fixture
def followed(gated: Gated, quiet: Kube, wine: ModelRef) -> Iterator[Kube]:  # noqa: F811  fixtures
    """The cluster with the Deployment of the page, whose pods fetch through the gate, and the image of the commands."""
    images.build(COMMANDS)
    load_image(quiet, COMMANDS.tag)
    gated.token("sync")
    with settings(quiet, {"TRACKING_URI": ADDRESS, "TOKEN": "pull"}):
        quiet.apply(model_deployment("wine", literals(wine), replicas=2))
        quiet.rolled_out(COMPUTE, "wine")
        yield quiet
    for name in ("follow-production", "measure-delivery"):
        quiet("delete", "--ignore-not-found", "--filename", ROOT / "manifests" / "examples" / f"{name}.yaml")


def promote(uri: str, ref: ModelRef) -> None:
    assert moved(uri, ref, "Staging", basic("root")).status == 200
    assert moved(uri, ref, "Production", basic("root"), archive_existing_versions=True).status == 200


def served(kube: Kube) -> set[str]:
    """Return the run ids in the pods of the Deployment."""
    pods = kube.items("-n", COMPUTE, "pod", "-l", "app=wine")
    kept = [pod["spec"]["containers"][0] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    variables = [entry for container in kept for entry in container["env"]]
    return {entry["value"] for entry in variables if entry["name"] == "MLFLOW_RUN_ID"}


def steps(text: str) -> list[str]:
    """Return the lines about steps, without what differs from one rollout to the next."""
    return [NUMBERS.sub("N", line) for line in text.splitlines() if not line.startswith("waiting")]


@pytest.mark.timeout(1200)
def test_page_brings_the_deployment_to_the_version_in_production_and_the_cronjob_follows(
    gated: Gated,  # noqa: F811  a fixture
    followed: Kube,
    wine: ModelRef,
    second: ModelRef,
) -> None:
    shell = Shell(kube=followed, folder=ROOT)
    example = (HOW_TO / f"{PAGE}.md").read_text().partition("```\n$ ")[2].partition("```")[0]
    by_hand, _, by_cron_job = blocks(PAGE, "After each promotion")
    with followed.forwarded(MLFLOW, GATE, 5000) as uri:
        promote(uri, second)
        tracking = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": gated.value()}
        printed = shell.type("exec 2>&1", by_hand, **tracking)

        assert example.startswith(by_hand)
        assert steps(printed) == steps(example)[1:]
        assert served(followed) == {second.run_id}

        promote(uri, wine)
    log = shell.type(by_cron_job)

    assert f"'{wine.name}' version {wine.version}: 2 pods" in log  # a scheduled run may have come first
    assert served(followed) == {wine.run_id}


def test_job_of_the_reference_measures_what_comes_to_a_pod(followed: Kube) -> None:
    _, in_a_pod = blocks("../reference/lifecycle-commands", "`doctor`")
    printed = Shell(kube=followed, folder=ROOT).type(in_a_pod)

    assert re.search(r"^an answer of the gate +[\d.]+ ms", printed, re.MULTILINE)
    assert re.search(r"^files by proxy +[\d.]+ MiB/s, [1-9]\d* bytes in", printed, re.MULTILINE)
