"""`model-api-runtime`: serves the model of the pod."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ContractError
from model_contract.names import ARTIFACTS_PATH
from serving_runtime.errors import ModelNotFoundError, ServingError
from serving_runtime.server.cpus import threads_for_each, usable_cpus
from serving_runtime.server.settings import OPTIONS, read_settings

THREADS: Final = "OMP_NUM_THREADS"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        _serve(options)
    except ModelNotFoundError as error:
        return _end(ExitCode.NOT_FOUND, str(error))
    except ContractError as error:
        return _end(ExitCode.INVALID_INPUT, str(error))
    except ServingError as error:
        return _end(ExitCode.UNEXPECTED, str(error))


def _serve(options: argparse.Namespace) -> NoReturn:
    cpus = usable_cpus()
    settings = read_settings(vars(options), os.environ, cpus=cpus)
    if options.model_path:
        os.environ[ARTIFACTS_PATH] = options.model_path
    # Read once, by the libraries that the model is loaded with.
    os.environ.setdefault(THREADS, str(threads_for_each(cpus, settings.workers)))
    from serving_runtime.server.serve import serve  # noqa: PLC0415  --help and a wrong setting need none of it

    serve(settings, os.environ)


def _end(code: ExitCode, reason: str) -> ExitCode:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-api-runtime", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve")
    text = "answer predictions over HTTP, in the protocol of MLflow's scoring server"
    serving = commands.add_parser("serve", help=text, description=text, allow_abbrev=False)
    serving.add_argument(
        "--model-path",
        metavar="DIRECTORY",
        help=f"the directory that holds MLmodel (default: {ARTIFACTS_PATH}, or the pod's four variables)",
    )
    for option in OPTIONS:
        serving.add_argument(option.flag, metavar="VALUE", help=f"{option.meaning} (default: {option.variable}, or {option.default})")
    return parser
