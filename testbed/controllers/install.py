"""Parts that the controllers share: images that hold one program, and manifests of a Go module."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.cluster import images
from testbed.cluster.binaries import CACHE
from testbed.cluster.kube import Kube, load_image

USER: Final = "65532:65532"
SERVER_SIDE: Final = ("--server-side", "--force-conflicts")  # some definitions are too long for an annotation

Json = dict[str, Any]


def load_program(kube: Kube, program: Path, command: str) -> str:
    """Return the name of an image in the cluster that has the program as `/<command>`, and nothing else."""
    tag = f"{images.HUB}/{program.name}:test"
    if not images.exists(tag):
        folder = CACHE / "images" / program.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, folder / command)
        (folder / "Dockerfile").write_text(
            f'FROM scratch\nCOPY {command} /{command}\nUSER {USER}\nCMD ["/{command}"]\n'
        )
        images.podman("build", "--quiet", "--network=host", f"--tag={tag}", folder)
        shutil.rmtree(folder)
    load_image(kube, tag)
    return tag


def rendered(kube: Kube, folder: Path) -> list[Json]:
    """Return the objects of a kustomization."""
    return [found for found in yaml.safe_load_all(kube("kustomize", folder)) if found]


def apply(kube: Kube, objects: Iterable[Json]) -> None:
    """Create or change the objects, definitions of resources first."""
    definitions: list[Json] = []
    others: list[Json] = []
    for found in objects:
        (definitions if found["kind"] == "CustomResourceDefinition" else others).append(found)
    if definitions:
        kube.apply(*definitions, options=SERVER_SIDE)
        names = [f"crd/{found['metadata']['name']}" for found in definitions]
        established = ("wait", "--for=condition=Established", "--timeout=20s", *names)
        kube.until(lambda: kube.attempt(*established).returncode == 0, seconds=120, what="definitions")
    kube.apply(*others, options=SERVER_SIDE)


def mend(deployment: Json, programs: Mapping[str, str], arguments: Mapping[str, list[str]]) -> None:
    """Give a Deployment the images that were built here, and the arguments that the test cluster needs.

    Containers without an image are left out. A limit of a tenth of a processor and pauses before the first probe
    would make each test wait for half a minute.
    """
    spec = deployment["spec"]["template"]["spec"]
    spec["containers"] = [found for found in spec["containers"] if found["name"] in programs]
    for container in spec["containers"]:
        container["image"], container["imagePullPolicy"] = programs[container["name"]], "IfNotPresent"
        container["args"] = arguments.get(container["name"], container.get("args", []))
        container.get("resources", {}).pop("limits", None)
        for probe in ("livenessProbe", "readinessProbe"):
            container.get(probe, {}).pop("initialDelaySeconds", None)
        container.get("readinessProbe", {})["periodSeconds"] = 1
