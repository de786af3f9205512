"""`model-api-runtime`: serves the model of the pod, scores files, and checks a model before deployment."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.exit_codes import ExitCode
from model_contract.extras import extra_of_program
from model_contract.interrupted import end_interrupted
from model_contract.model_ref import ContractError
from model_contract.names import ARTIFACTS_PATH

EXTRA: Final = "runtime"

with extra_of_program(EXTRA):
    from serving_runtime.commands import check, manifest, openapi, predict, replay, serve
    from serving_runtime.commands.cli_errors import CommandError
    from serving_runtime.errors import ModelNotFoundError, ServingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`arguments` declares its flags. `run` raises ServingError, ContractError, CommandError."""

    name: str
    text: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], ExitCode]
    of_a_model: bool = True


COMMANDS: Final = (
    Command(name="serve", text="answer predictions over HTTP", arguments=serve.arguments, run=serve.run),
    Command(name="predict", text="score the rows of a file", arguments=predict.arguments, run=predict.run),
    Command(
        name="check", text="find what would fail in a deployment, before it", arguments=check.arguments, run=check.run
    ),
    Command(
        name="openapi", text="print the API of the model as OpenAPI 3.1", arguments=openapi.arguments, run=openapi.run
    ),
    Command(
        name="manifest",
        text="print a manifest for Kubernetes",
        arguments=manifest.arguments,
        run=manifest.run,
        of_a_model=False,
    ),
    Command(
        name="replay",
        text="send recorded requests again, and compare the answers",
        arguments=replay.arguments,
        run=replay.run,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    if sys.stderr is None:  # closed by `2>&-`, and `print` would take standard output instead
        with Path(os.devnull).open("w") as sys.stderr:
            return main(argv)
    options = _parser().parse_args(argv)
    if getattr(options, "model_path", None):
        os.environ[ARTIFACTS_PATH] = options.model_path
    run: Callable[[argparse.Namespace], ExitCode] = options.run
    try:
        with extra_of_program(EXTRA):
            return run(options)
    except ModelNotFoundError as error:
        return _end(ExitCode.NOT_FOUND, str(error))
    except ContractError as error:
        return _end(ExitCode.INVALID_INPUT, str(error))
    except CommandError as error:
        return _end(error.code, str(error))
    except ServingError as error:
        return _end(ExitCode.UNEXPECTED, str(error))
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except KeyboardInterrupt:
        return end_interrupted()


def _end(code: ExitCode, reason: str) -> ExitCode:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-api-runtime", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="|".join(command.name for command in COMMANDS)
    )
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.text, description=command.text, allow_abbrev=False)
        if command.of_a_model:
            own.add_argument(
                "--model-path",
                metavar="DIRECTORY",
                help=f"the directory that holds MLmodel (default: {ARTIFACTS_PATH}, or the pod's four variables)",
            )
        command.arguments(own)
        own.set_defaults(run=command.run)
    return parser
