"""A model as an image in a registry on this machine, which the node of `testbed.cluster` reaches."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_contract.image_reference import ImageReference
from model_contract.model_ref import ModelRef
from testbed.cluster.cluster import NAME, RUN
from testbed.cluster.components import Layout
from testbed.cluster.kube import Kube
from testbed.cluster.machine import Network
from testbed.cluster.workloads import MLFLOW, PROJECT_ID
from testbed.processes import installed
from testbed.registry import ImageRegistry, image_registry

HOSTS = """server = "http://{host}:{port}"
[host."http://{host}:{port}"]
  capabilities = ["pull", "resolve"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A model as an image. `image` is by digest; `blobs` are the digests of its layers and its configuration."""

    registry: ImageRegistry
    image: str
    blobs: tuple[str, ...]

    @property
    def repository(self) -> str:
        return self.image.partition("@")[0]

    @property
    def template(self) -> str:
        """The webhook's setting for images in this registry."""
        return f"{self.repository.replace(PROJECT_ID, '{project_id}')}:{{run_id}}"


@contextmanager
def packaged_model(kube: Kube, ref: ModelRef, directory: Path, *, namespace: str = MLFLOW) -> Iterator[PackagedModel]:
    """Package a version of the MLflow in the namespace by `model-api package`, for the length of a `with` block."""
    with image_registry(directory) as registry, kube.forwarded(namespace, "mlflow", 5000) as mlflow:
        _tell_node(registry)
        to = f"{registry.address}/models/{PROJECT_ID}"
        options = [f"--name={ref.name}", f"--version={ref.version}", f"--to={to}", f"--owner={ref.owner}"]
        done = subprocess.run(
            [installed("model-api"), "package", *options, f"--tracking-uri={mlflow}"],
            env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"model-api package ended with {done.returncode}: {done.stderr}")
        image = done.stdout.strip()
        yield PackagedModel(registry=registry, image=image, blobs=_blobs(ImageReference.parse(image)))


def _tell_node(registry: ImageRegistry) -> None:
    """Let containerd ask this host for images of the registry: it has another address in the node's network."""
    network = Network(name=NAME)
    folder = Layout(run=RUN, programs=RUN, network=network).registries / registry.address
    folder.mkdir(parents=True, exist_ok=True)
    port = registry.address.rpartition(":")[2]
    (folder / "hosts.toml").write_text(HOSTS.format(host=network.outside, port=port))


def _blobs(image: ImageReference) -> tuple[str, ...]:
    url = f"http://{image.registry}/v2/{image.repository}/manifests/{image.digest}"
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    with urllib.request.urlopen(request) as answer:  # noqa: S310  as above
        manifest = json.load(answer)
    return (manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"]))
