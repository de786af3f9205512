"""`openapi`: prints the document that the server has at `/openapi.json`."""

import argparse
import json
import os

from model_contract.exit_codes import ExitCode
from model_contract.names import MODEL_NAME, MODEL_VERSION
from serving_runtime.commands import lazy
from serving_runtime.location import resolve_model_path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-name",
        metavar="NAME",
        default=os.environ.get(MODEL_NAME),
        help=f"default: {MODEL_NAME}, or the name in the file registered_model_meta, or model",
    )
    parser.add_argument(
        "--model-version",
        metavar="VERSION",
        default=os.environ.get(MODEL_VERSION),
        help=f"default: {MODEL_VERSION}, or the version in that file, if the name is from there",
    )
    parser.add_argument("--indent", type=int, default=2, metavar="N", help="spaces of each level (default: 2)")


def run(options: argparse.Namespace) -> ExitCode:
    """Print the document from the model's files, without loading the model. Raises ServingError, ContractError."""
    path = resolve_model_path(os.environ)
    signature = lazy.read_metadata(path).signature
    name, version = lazy.identity(path, options.model_name, options.model_version)
    described = lazy.describe(path, name=name, version=version)
    print(json.dumps(lazy.openapi(described, signature), indent=options.indent))
    return ExitCode.DONE
