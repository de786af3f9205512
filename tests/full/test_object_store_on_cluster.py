"""A model in an S3 store: what docs/how-to/read-models-from-an-object-store.md says is typed on the cluster.

The store is a process of this host. Its address is of no private network and its port is 443, which are what the
NetworkPolicy of the component lets pods of models reach.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from model_contract.model_ref import ModelRef
from testbed.cluster import images
from testbed.cluster.cluster import NAME
from testbed.cluster.images import HUB, Image
from testbed.cluster.kube import Kube, load_image
from testbed.cluster.machine import Network
from testbed.cluster.workloads import COMPUTE, MLFLOW, PLATFORM, WEBHOOK, literals, model_deployment, service
from testbed.delivery import Delivery
from testbed.object_stores import register, s3_bucket, upload
from testbed.pages import Shell, blocks
from testbed.registered import files_below
from testbed.s3_server import REGION, S3Server, s3_server
from tests.cluster.conftest import QUICKSTART
from tests.cluster.test_model_pods import predict

PAGE, HEADING = "read-models-from-an-object-store", "Set up"
COMPONENTS = QUICKSTART.parents[1] / "components"
FULL = Image(tag=f"{HUB}/model-api-delivery:0.1.0-full", dockerfile="Dockerfile.runtime", target="delivery-full")


@pytest.fixture
def store(installed: Kube, tmp_path: Path) -> Iterator[S3Server]:
    """An S3 server at an address that the cluster's network has."""
    assert installed.ours
    with s3_server(tmp_path / "s3", host=Network(name=NAME).public, port=443) as found:
        yield found


@pytest.fixture
def shell(installed: Kube, tmp_path: Path) -> Iterator[Shell]:
    """A shell in the folder of an admin's overlay, which is the quickstart's and that of the page."""
    images.build(FULL)
    load_image(installed, FULL.tag)
    folder = tmp_path / "overlay"
    folder.mkdir()
    (block,) = blocks(PAGE, HEADING, "yaml")
    own = yaml.safe_load(block.replace("../../components", os.path.relpath(COMPONENTS, folder.resolve())))
    own["resources"] = [os.path.relpath(QUICKSTART, folder.resolve())]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    yield Shell(kube=installed, folder=folder)
    installed("apply", "-k", QUICKSTART)
    installed.rolled_out(PLATFORM, WEBHOOK)
    installed("-n", COMPUTE, "delete", "secret/model-store", "networkpolicy/model-api-to-object-stores")


def model_in(store: S3Server, mlflow: str, wine: ModelRef, directory: Path) -> ModelRef:
    """Put the files of the quickstart's model into a bucket, and register a version that has them."""
    directory.mkdir()
    delivery = Delivery(directory=directory, uri=mlflow)
    assert delivery.fetch(wine).code == 0
    upload(s3_bucket(store, "models"), "wine", files_below(delivery.model(wine)))
    return register(mlflow, "wine-in-a-store", "s3://models/wine", run_id=wine.run_id)


def test_page_makes_pods_read_their_model_from_the_store(
    quiet: Kube,
    shell: Shell,
    store: S3Server,
    wine: ModelRef,
    tmp_path: Path,
) -> None:
    with quiet.forwarded(MLFLOW, "mlflow", 5000) as mlflow:
        ref = model_in(store, mlflow, wine, tmp_path / "fetched")
    secret, apply, check = blocks(PAGE, HEADING)
    for key, value in {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}.items():
        (tmp_path / key).write_text(f"{value}\n")
        secret = secret.replace(f"{key}=<file>", f"{key}={tmp_path / key}")
    own_server = f"--from-literal=AWS_ENDPOINT_URL={store.endpoint}"
    shell.type(f"{secret.replace('eu-west-1', REGION).rstrip()} {own_server}", apply.replace("<your overlay>", "."))
    quiet.apply(model_deployment("in-a-store", literals(ref)), service("in-a-store"))
    quiet.rolled_out(COMPUTE, "in-a-store")

    assert 'way="object store"' in shell.type(check.replace("<pod>", "deployment/in-a-store"))
    assert predict(quiet, "in-a-store") == predict(quiet, "wine-quality")
