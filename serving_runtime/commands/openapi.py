"""`openapi`: prints the document that the server would answer with."""

import argparse
import json
import os

from model_contract.exit_codes import ExitCode
from model_contract.names import MODEL_NAME, MODEL_VERSION


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-name", metavar="NAME", default=os.environ.get(MODEL_NAME) or "model", help=f"default: {MODEL_NAME}, or model"
    )
    parser.add_argument("--model-version", metavar="VERSION", default=os.environ.get(MODEL_VERSION), help=f"default: {MODEL_VERSION}")
    parser.add_argument("--indent", type=int, default=2, metavar="N", help="spaces of each level (default: 2)")


def run(options: argparse.Namespace) -> ExitCode:
    """Reads the model's files, and does not load it. Raises ServingError, ContractError."""
    from serving_runtime.info import describe  # noqa: PLC0415  --help needs none of it
    from serving_runtime.location import resolve_model_path  # noqa: PLC0415  as above
    from serving_runtime.mlmodel import read_metadata  # noqa: PLC0415  as above
    from serving_runtime.openapi.document import openapi  # noqa: PLC0415  as above

    path = resolve_model_path(os.environ)
    signature = read_metadata(path).signature
    described = describe(path, name=options.model_name, version=options.model_version)
    print(json.dumps(openapi(described, signature), indent=options.indent))
    return ExitCode.DONE
