"""`manifest kserve`: prints an InferenceService for this project's ClusterServingRuntime."""

import argparse
import re
from typing import Any, Final

import yaml

from model_contract.exit_codes import ExitCode
from model_contract.settings import SettingError

RUNTIME: Final = "model-api-runtime"  # manifests/components/kserve
PROTOCOLS: Final = ("v1", "v2", "grpc-v2")
# KServe's own rule (IsvcNameFmt); its Service is called <name>-predictor, and a Service's name has at most 63
# characters.
NAME: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,51}[a-z0-9])?")
URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:/+[!-.0-~][!-~]*")  # the slashes alone are no URI


class Dumper(yaml.SafeDumper):
    """Writes the names `y` and `n` in quotes: to kubectl they are booleans, to PyYAML they are not."""


Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yn]\Z"), ["y", "n"])


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        choices=["kserve"],
        help="kserve: an InferenceService, which needs the ClusterServingRuntime of this project",
    )
    parser.add_argument(
        "--name",
        required=True,
        metavar="NAME",
        help="name of the InferenceService, and of the model in the protocols' paths",
    )
    parser.add_argument(
        "--storage-uri",
        required=True,
        metavar="URI",
        help="address at which KServe finds the directory that holds MLmodel",
    )
    parser.add_argument(
        "--protocol-version",
        choices=PROTOCOLS,
        default="v2",
        help="protocol that KServe expects from its clients (default: v2)",
    )


def run(options: argparse.Namespace) -> ExitCode:
    """Raises SettingError."""
    service = inference_service(options.name, options.storage_uri, options.protocol_version)
    print(yaml.dump(service, Dumper=Dumper, sort_keys=False), end="")
    return ExitCode.DONE


def inference_service(name: str, storage_uri: str, protocol_version: str = "v2") -> dict[str, Any]:
    """Raises SettingError."""
    if not NAME.fullmatch(name):
        raise SettingError(
            "--name",
            name,
            "it must be a small letter, then at most 52 small letters, digits and hyphens, not ending with a hyphen",
        )
    if not URI.fullmatch(storage_uri):
        raise SettingError("--storage-uri", None, 'it must be a URI without spaces, such as "s3://models/wine"')
    model = {
        "modelFormat": {"name": "mlflow"},
        "runtime": RUNTIME,
        "protocolVersion": protocol_version,
        "storageUri": storage_uri,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model}},
    }
