"""An InferenceService that KServe gives to this project's runtime."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serving_runtime.commands.manifest import PROTOCOLS
from tests.serving_runtime.commands.conftest import Run

ROOT = Path(__file__).parents[3]
RUNTIME = yaml.safe_load((ROOT / "manifests" / "components" / "kserve" / "cluster-serving-runtime.yaml").read_text())
WINE = ("manifest", "kserve", "--name", "wine", "--storage-uri", "mlflow://wine/3")


def service(run: Run, *flags: str) -> dict[str, Any]:
    ended = run(*WINE, *flags)
    assert ended.code == 0, ended.err
    parsed: dict[str, Any] = yaml.safe_load(ended.out)
    return parsed


def test_name_that_kubectl_would_read_as_a_boolean_is_in_quotes(run: Run) -> None:
    assert "  name: 'y'\n" in run("manifest", "kserve", "--name", "y", "--storage-uri", "mlflow://wine/3").out


def test_manifest_is_an_inference_service(run: Run) -> None:
    assert service(run) == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "wine"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "mlflow"},
                    "runtime": "model-api-runtime",
                    "protocolVersion": "v2",
                    "storageUri": "mlflow://wine/3",
                }
            }
        },
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_manifest_asks_for_what_the_serving_runtime_has(protocol: str, run: Run) -> None:
    model = service(run, "--protocol-version", protocol)["spec"]["predictor"]["model"]

    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["modelFormat"]["name"] in {one["name"] for one in RUNTIME["spec"]["supportedModelFormats"]}
    assert model["protocolVersion"] == protocol
    assert list(PROTOCOLS) == RUNTIME["spec"]["protocolVersions"]


@pytest.mark.parametrize("name", ["", "Wine", "1wine", "wine-", "wine.red", "wine\n", "w" * 54, "x: y"])
def test_name_that_kserve_refuses_is_refused(name: str, run: Run) -> None:
    ended = run("manifest", "kserve", "--name", name, "--storage-uri", "s3://models/wine")

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith('error: --name="')


@pytest.mark.parametrize("uri", ["", "models/wine", "s3:", "s3://", "s3://models/a b", "s3://models/wine\n"])
def test_text_that_is_no_uri_is_refused(uri: str, run: Run) -> None:
    ended = run("manifest", "kserve", "--name", "wine", "--storage-uri", uri)

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: --storage-uri: it must be a URI without spaces")


@pytest.mark.parametrize(
    "uri", ["pvc://models/wine", "https://acme.blob.core.windows.net/models/wine", "models:/wine/3", "hf://a/b:main"]
)
def test_uri_is_written_unchanged(uri: str, run: Run) -> None:
    ended = run("manifest", "kserve", "--name", "w", "--storage-uri", uri)

    assert yaml.safe_load(ended.out)["spec"]["predictor"]["model"]["storageUri"] == uri


def test_page_shows_what_the_command_prints(run: Run) -> None:
    page = (ROOT / "docs" / "how-to" / "serve-with-kserve.md").read_text()
    shown = yaml.safe_load(page.partition("apply --filename - <<'EOF'\n")[2].partition("\nEOF\n")[0])
    printed = yaml.safe_load(run(*WINE).out)
    model, more = (document["spec"]["predictor"].pop("model") for document in (shown, printed))

    assert "model-api-runtime " + " ".join(WINE) in page
    assert shown == printed
    # The page leaves the runtime to KServe's choice, and names what a pod asks for.
    assert {**model, "runtime": more["runtime"], "protocolVersion": "v2"} == {**more, "resources": model["resources"]}
