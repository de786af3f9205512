"""`model-api-delivery`: fetches models into a store or for KServe, verifies that one is there, or resolves a URI."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Final, TypeVar

from model_contract.exit_codes import ExitCode
from model_contract.interrupted import end_interrupted
from model_contract.model_ref import ContractError, IncompleteVariablesError, shown, validate
from model_contract.names import MODEL_NAME, MODEL_OWNER, MODEL_VARIABLES, MODEL_VERSION, RUN_ID
from model_contract.quantity import Quantity, QuantityError
from model_delivery.deadline import Limits
from model_delivery.download import Bounds
from model_delivery.errors import DeliveryError, InvalidInputError
from model_delivery.fetch import FetchRequest, fetch
from model_delivery.log import line, log
from model_delivery.memory import share_arena
from model_delivery.model_uri import resolve
from model_delivery.settings import Upstream, model_ref, model_variables, project_id
from model_delivery.storage_command import add_storage, run_storage
from model_delivery.sync_command import add_sync, run_sync
from model_delivery.verify import VerifyRequest, verify

TERMINATION_LOG: Final = "/dev/termination-log"
ENDED_BY_SIGTERM: Final = 128 + signal.SIGTERM
Number = TypeVar("Number", int, float)


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    options = _parser().parse_args(argv)
    # The first process of a container has no default action for SIGTERM: a deleted pod would wait for its grace period.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(ENDED_BY_SIGTERM))
    os.umask(0o022)  # the model's container may have another user
    share_arena()
    try:
        _say(_run(options, os.environ if environ is None else environ))
    except (DeliveryError, ContractError) as error:
        return _report(error.exit_code, str(error), options.termination_log)
    except KeyboardInterrupt:  # the next run continues with what is there
        return end_interrupted()
    except Exception as error:  # noqa: BLE001  the edge: a bug is reported in one line, without a traceback
        return _report(ExitCode.UNEXPECTED, f"unexpected {type(error).__name__}: {error}", options.termination_log)
    return ExitCode.DONE


def _say(text: str) -> None:
    """Print the last line, unless its reader has gone, as that of `| head` has."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is written at the end


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> str:
    if options.command in {"storage", "sync"}:
        run = run_storage if options.command == "storage" else run_sync
        return run(options, _bounds(options), environ, lambda text: _write_message(text, options.termination_log))
    if options.command == "resolve":
        limits = Limits(tries=options.tries, deadline=options.deadline)
        found = resolve(options.uri, options.owner, Upstream.from_environment(environ), limits)
        return json.dumps(found.variables())
    given = {variable: getattr(options, variable) for variable in MODEL_VARIABLES}
    return _fetch(options, given, environ) if options.command == "fetch" else _verify(options, given, environ)


def _fetch(options: argparse.Namespace, given: Mapping[str, str | None], environ: Mapping[str, str]) -> str:
    began = time.monotonic()
    model = model_ref(given, environ)
    if model is None:
        return f"nothing to fetch: none of {', '.join(MODEL_VARIABLES)} is set"
    project = project_id(environ)
    request = FetchRequest(model=model, store=options.store, project=project, bounds=_bounds(options))
    result = fetch(request, Upstream.from_environment(environ))
    seconds = time.monotonic() - began
    _write_message(json.dumps(result.summary(seconds)), options.termination_log)
    return result.line(seconds, model=model.name, version=model.version, run=model.run_id)


def _bounds(options: argparse.Namespace) -> Bounds:
    limits = Limits(
        deadline=options.deadline,
        stall=options.stall,
        min_rate=options.min_rate,
        tries=options.tries,
        first_wait=options.first_wait,
        longest_wait=options.longest_wait,
        longest_retry_after=options.longest_retry_after,
    )
    max_bytes = None if options.max_bytes is None else _bytes(options.max_bytes)
    return Bounds(max_bytes=max_bytes, parallel=options.parallel, limits=limits)


def _bytes(text: str) -> int:
    try:
        size = Quantity.parse(text).bytes
    except QuantityError as error:
        raise InvalidInputError(f"--max-bytes is {shown(text)}: {error}") from None
    if not size:
        raise InvalidInputError("--max-bytes is 0: it must be more than 0")
    return size


def _verify(options: argparse.Namespace, given: Mapping[str, str | None], environ: Mapping[str, str]) -> str:
    variables = {name: value for name, value in model_variables(given, environ).items() if value}
    if missing := tuple(name for name in (MODEL_OWNER, RUN_ID) if name not in variables):
        raise IncompleteVariablesError(missing)
    valid = {name: validate(name, value) for name, value in variables.items()}
    expected = VerifyRequest(
        store=options.store,
        owner=valid[MODEL_OWNER],
        run_id=valid[RUN_ID],
        name=valid.get(MODEL_NAME),
        version=valid.get(MODEL_VERSION),
        digests=options.digests,
        project=project_id(environ),
    )
    manifest = verify(expected)
    if manifest is None:
        return line("there, but without a manifest: sizes and digests could not be checked", run=expected.run_id)
    return line(
        "complete",
        run=expected.run_id,
        files=len(manifest.files),
        bytes=manifest.total_bytes,
        checked="digests" if options.digests else "sizes",
        digest=manifest.digest,
    )


def _report(code: ExitCode, reason: str, termination_log: Path) -> ExitCode:
    """Write the reason to the log and to the termination log, and return the code."""
    text = " ".join("".join(character if character.isprintable() else " " for character in reason).split())
    log(f"error: {text}", exit=int(code))
    _write_message(text, termination_log)
    return code


def _write_message(text: str, termination_log: Path) -> None:
    """Write the line that `kubectl describe pod` shows."""
    try:
        # The kubelet creates the file; outside a pod there is none.
        descriptor = os.open(termination_log, os.O_WRONLY | os.O_TRUNC)
    except OSError:
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as message:
        message.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-api-delivery", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="fetch | storage | verify | sync | resolve")
    _add_bounds(_command(commands, "fetch", "fetch the model into the store, unless it is there"))
    storage = add_storage(commands)
    _add_termination_log(storage)
    _add_bounds(storage)
    verifying = _command(commands, "verify", "verify that the model is in the store, and complete; writes nothing")
    verifying.add_argument("--digests", action="store_true", help="read every file, and compare the digests too")
    syncing = add_sync(commands)
    _add_termination_log(syncing)
    _add_bounds(syncing)
    _add_resolve(commands)
    return parser


def _add_bounds(fetching: argparse.ArgumentParser) -> None:
    fetching.add_argument(
        "--max-bytes", metavar="SIZE", help="refuse a larger model before the first byte: 20Gi, 500M, 1048576"
    )
    fetching.add_argument(
        "--parallel",
        type=_positive(int),
        default=8,
        metavar="N",
        help="files, or ranges of a large one, at a time (default: %(default)s)",
    )
    defaults = Limits()
    fetching.add_argument(
        "--deadline", type=_positive(float), metavar="S", help="seconds for everything (default: no limit)"
    )
    for name, default, text in (
        ("stall", defaults.stall, "that a server may be silent, or take for the whole head of an answer"),
        ("first-wait", defaults.first_wait, "before the second try, at least"),
        ("longest-wait", defaults.longest_wait, "between tries, at most"),
        ("longest-retry-after", defaults.longest_retry_after, "of wait that a server may ask for, at most"),
    ):
        fetching.add_argument(
            f"--{name}",
            type=_positive(float),
            default=default,
            metavar="S",
            help=f"seconds {text} (default: %(default)g)",
        )
    fetching.add_argument(
        "--min-rate",
        type=_positive(float),
        default=defaults.min_rate,
        metavar="N",
        help="bytes per second of each file, averaged over --stall (default: %(default)g)",
    )
    fetching.add_argument(
        "--tries",
        type=_positive(int),
        default=defaults.tries,
        metavar="N",
        help="tries of one request without new bytes (default: %(default)s)",
    )


def _add_resolve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "print the four variables of the version that a URI names, as JSON"
    resolving = commands.add_parser("resolve", help=text, description=text, allow_abbrev=False)
    resolving.add_argument("uri", help="models:/name@alias, models:/name/3, or runs:/run_id/path")
    resolving.add_argument("--owner", default="models", help="owner in the variables (default: %(default)s)")
    resolving.add_argument(
        "--tries",
        type=_positive(int),
        default=Limits().tries,
        metavar="N",
        help="tries of one request (default: %(default)s)",
    )
    resolving.add_argument(
        "--deadline", type=_positive(float), metavar="S", help="seconds for everything (default: no limit)"
    )
    _add_termination_log(resolving)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.add_argument(
        "--store",
        type=Path,
        required=True,
        metavar="DIRECTORY",
        help="directory of models, each at <owner>/<run id>/artifacts/model",
    )
    for option, variable in (
        ("run-id", RUN_ID),
        ("owner", MODEL_OWNER),
        ("model", MODEL_NAME),
        ("version", MODEL_VERSION),
    ):
        command.add_argument(f"--{option}", dest=variable, metavar="VALUE", help=f"default: {variable}")
    _add_termination_log(command)
    return command


def _add_termination_log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--termination-log",
        type=Path,
        default=TERMINATION_LOG,
        metavar="FILE",
        help="file that gets the reason of a failure, or the summary of a fetch as JSON (default: %(default)s)",
    )


def _positive(kind: type[Number]) -> Callable[[str], Number]:
    def positive(text: str) -> Number:
        value = kind(text)
        if not 0 < value < inf:
            raise ValueError
        return value

    return positive
