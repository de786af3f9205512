"""The release's images: built by podman, pushed to a registry, described by syft, signed by cosign with a local key."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import images
from testbed.github_project import ROOT
from testbed.github_steps import Job
from testbed.registry import PASSWORD, image_registry
from testbed.release import ReleaseRun, release_tools, version

MATRIX = re.compile(r"image: \[.*\]")
BUILT = {"webhook": f"model-api-webhook:{version()}", "delivery-full": f"model-api-delivery:{version()}-full"}
FILTER = re.compile(r"jq -r '(.+)'$", re.MULTILINE)  # the command that a user types
OFFLINE = "--tlog-upload=false --use-signing-config=false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The jobs of two images, and where their references and the key are."""

    release: ReleaseRun
    jobs: tuple[Job, ...]
    registry: str
    key: Path

    def reference(self, image: str) -> str:
        return (self.release.artifact(f"image-{image}") / f"model-api-{image}.txt").read_text().strip()

    def cosign(self, *arguments: str, key: Path | None = None) -> "subprocess.CompletedProcess[str]":
        command = ["cosign", arguments[0], f"--key={key or self.key}", "--insecure-ignore-tlog=true", *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """Run the workflow's job for two of its images."""
    if reason := images.unmet_requirement():
        pytest.fail(reason)
    images.base()
    directory, tools = tmp_path_factory.mktemp("release"), tmp_path_factory.mktemp("tools")
    release_tools(tools)
    with image_registry(directory / "registry", login=True) as registry, pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(registry.address, directory, tools).items():
            patch.setenv(name, value)
        key, other = key_pair(directory / "key"), key_pair(directory / "other")
        assert key != other
        release = ReleaseRun.of_work_tree(
            directory,
            token=PASSWORD,
            REGISTRY=f"{registry.address}/acme",
            BUILD_OPTIONS=" ".join(["--network=host", "--pull=never", *images.trust()]),
            HELM_OPTIONS="--plain-http",
            COSIGN_OPTIONS=f"--key={key.with_suffix('.key')} {OFFLINE}",
        )
        workflow = release.github.repository / ".github" / "workflows" / "release.yml"
        workflow.write_text(MATRIX.sub(f"image: [{', '.join(BUILT)}]", workflow.read_text()))
        release.commit()
        jobs = release.run(f"v{version()}", "tag", "test", "files", "package", "release")
        yield Pushed(release=release, jobs=jobs, registry=registry.address, key=key)
        for tag in BUILT.values():
            images.podman("rmi", f"{registry.address}/acme/{tag}")


def environment_of(registry: str, directory: Path, tools: Path) -> dict[str, str]:
    """Return variables for a registry without TLS, and for credentials that are not the user's."""
    config = directory / "registries.conf"
    config.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    (directory / "docker").mkdir()
    return {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "CONTAINERS_CONF": images.environment()["CONTAINERS_CONF"],
        "CONTAINERS_REGISTRIES_CONF": str(config),
        "DOCKER_CONFIG": str(directory / "docker"),
        "REGISTRY_AUTH_FILE": str(directory / "docker" / "config.json"),
        "COSIGN_PASSWORD": "",
        "SYFT_CHECK_FOR_APP_UPDATE": "false",
    }


def key_pair(prefix: Path) -> Path:
    """Make a pair of keys, and return the public one."""
    command = ["cosign", "generate-key-pair", f"--output-key-prefix={prefix}"]
    subprocess.run(command, check=True, capture_output=True)
    return prefix.with_suffix(".pub")


def test_image_is_built_pushed_signed_and_described(pushed: Pushed) -> None:
    assert [(job.name, job.code) for job in pushed.jobs] == [("images", 0)] * 2 + [("chart", 0)], "".join(
        job.log for job in pushed.jobs
    )
    for image, tag in BUILT.items():
        name, _, digest = pushed.reference(image).partition("@")
        assert name == f"{pushed.registry}/acme/{tag.partition(':')[0]}"
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
        verified = pushed.cosign("verify", pushed.reference(image))
        assert verified.returncode == 0, verified.stderr
        assert f"{digest} {name} true" in (pushed.release.temporary / "attested").read_text()


def test_signature_of_another_key_and_of_another_image_is_refused(pushed: Pushed) -> None:
    other = pushed.cosign("verify", pushed.reference("webhook"), key=pushed.key.with_name("other.pub"))
    unsigned = pushed.cosign("verify", pushed.reference("webhook").partition("@")[0] + ":none")

    assert other.returncode != 0
    assert unsigned.returncode != 0


def test_attached_sbom_has_the_packages_of_python_and_debian(pushed: Pushed) -> None:
    done = pushed.cosign("verify-attestation", "--type=cyclonedx", pushed.reference("webhook"))
    assert done.returncode == 0, done.stderr
    payload = json.loads(base64.b64decode(json.loads(done.stdout.splitlines()[0])["payload"]))
    written = FILTER.search((ROOT / "SECURITY.md").read_text())
    assert written
    command = ["jq", "-r", written[1]]
    printed = subprocess.run(command, input=done.stdout, capture_output=True, text=True, check=True).stdout.splitlines()
    kinds: dict[str, set[str]] = {}
    for component in payload["predicate"]["components"]:
        kind = component.get("purl", "").partition("/")[0]
        kinds.setdefault(kind, set()).add(component["name"])

    assert {"flask", "gunicorn", "lightkube", "mlflow-model-api"} <= {name.lower() for name in kinds["pkg:pypi"]}
    assert {"libc6", "libssl3"} <= kinds["pkg:deb"]
    assert {"flask", "libc6"} <= {line.partition(" ")[0].lower() for line in printed}
    assert "mlflow-skinny" not in kinds["pkg:pypi"]


def test_labels_and_times_of_the_image_are_those_of_the_commit(pushed: Pushed) -> None:
    inspected: list[dict[str, Any]] = json.loads(
        images.podman("image", "inspect", f"{pushed.registry}/acme/{BUILT['webhook']}")
    )
    labels = inspected[0]["Labels"]

    assert labels["org.opencontainers.image.version"] == version()
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.source"].startswith("https://github.com/")


def test_chart_is_packaged_pushed_signed_and_described(pushed: Pushed) -> None:
    reference = (pushed.release.artifact("chart") / "model-api-chart.txt").read_text().strip()
    verified = pushed.cosign("verify", reference)
    described = pushed.cosign("verify-attestation", "--type=cyclonedx", reference)
    document = json.loads((pushed.release.artifact("chart") / "mlflow-model-api-chart.cdx.json").read_text())

    assert reference.startswith(f"{pushed.registry}/acme/charts/mlflow-model-api@sha256:")
    assert (verified.returncode, described.returncode) == (0, 0), verified.stderr + described.stderr
    assert "charts/mlflow-model-api/Chart.yaml" in {one["name"] for one in document["components"]}
