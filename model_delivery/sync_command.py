"""The command `sync`: its options, the projects of its tokens, and its summary."""

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from model_contract.model_ref import shown
from model_contract.names import PROJECT_ID_FORM, PROJECT_ID_PATTERN
from model_delivery.deadline import Deadline
from model_delivery.download import Bounds
from model_delivery.errors import InvalidInputError, PartError
from model_delivery.settings import Upstream, token_of_file
from model_delivery.sync import Project, SyncRequest, SyncResult, Used, sync
from model_delivery.workloads import Workloads

TEXT: Final = "fill a shared store with the models in Staging and Production, and remove others after --grace"
GRACE: Final = re.compile(r"([0-9]{1,6})([dhms])")
SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def add_sync(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command with its own options, and return it."""
    command = commands.add_parser("sync", help=TEXT, description=TEXT, allow_abbrev=False)
    command.add_argument(
        "--store", type=Path, required=True, metavar="DIRECTORY", help="the folder of the claim that pods mount"
    )
    projects = command.add_mutually_exclusive_group(required=True)
    projects.add_argument(
        "--tokens",
        type=Path,
        metavar="DIRECTORY",
        help="a directory with the pull token of each project, in a file named by its id",
    )
    projects.add_argument(
        "--project",
        action="append",
        metavar="ID",
        help="a project that is read with the credential of the environment; may come again",
    )
    command.add_argument("--owner", metavar="USER", help="owner of models whose tags name no user")
    command.add_argument(
        "--grace",
        default="7d",
        metavar="TIME",
        help="how long a model stays that is in neither stage, such as 7d or 12h (default: %(default)s)",
    )
    command.add_argument(
        "--keep-used",
        action="store_true",
        help="in a pod: keep models that a pod, Deployment or StatefulSet of its namespace names",
    )
    return command


def run_sync(
    options: argparse.Namespace, bounds: Bounds, environ: Mapping[str, str], message: Callable[[str], None]
) -> str:
    """Return the summary as one line of JSON. Raises DeliveryError, after it has printed the summary of a failure."""
    began = time.monotonic()
    upstream = Upstream.from_environment(environ)
    projects = list(_projects_of_tokens(options.tokens, upstream) if options.tokens else _named(options, upstream))
    used = _used(environ, bounds) if options.keep_used else None
    request = SyncRequest(
        store=options.store, grace=_grace(options.grace), owner=options.owner, used=used, bounds=bounds
    )
    result = sync(request, projects)
    summary = _summary(result, len(projects), time.monotonic() - began)
    if not result.codes:
        message(summary)
        return summary
    print(summary, flush=True)  # noqa: T201  the answer of the command
    raise PartError(f"{len(result.codes)} steps failed, the log says which; {summary}", result.code)


def _summary(result: SyncResult, projects: int, seconds: float) -> str:
    return json.dumps(
        {
            "projects": projects,
            "unread": result.unread,
            "promoted": result.promoted,
            "present": result.present,
            "fetched": result.fetched,
            "bytes": result.bytes,
            "moved": result.moved,
            "waiting": result.waiting,
            "used": result.used,
            "removed": result.removed,
            "failed": result.failed,
            "exit": int(result.code),
            "seconds": round(seconds, 2),
        }
    )


def _projects_of_tokens(directory: Path, upstream: Upstream) -> Iterator[Project]:
    try:
        files = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InvalidInputError(f"--tokens names a directory that cannot be read: {error.strerror}") from error
    if not files:
        raise InvalidInputError("--tokens names an empty directory: mount the pull token of each project there")
    for file in files:
        project = _checked(file.name, "a file of --tokens")
        try:
            credential = token_of_file(file, f"the pull token of project {project}")
        except InvalidInputError as fault:
            yield Project(id=project, upstream=upstream, fault=fault)
            continue
        yield Project(id=project, upstream=replace(upstream, credential=credential))


def _named(options: argparse.Namespace, upstream: Upstream) -> Iterator[Project]:
    for project in dict.fromkeys(options.project):
        yield Project(id=_checked(project, "--project"), upstream=upstream)


def _checked(project: str, place: str) -> str:
    if not re.fullmatch(PROJECT_ID_PATTERN, project):
        raise InvalidInputError(f"{place} names {shown(project)}, which is no project id: it has {PROJECT_ID_FORM}")
    return project


def _grace(text: str) -> timedelta:
    found = GRACE.fullmatch(text)
    if not found or not int(found[1]):
        raise InvalidInputError(f"--grace is {shown(text)}; it must be a time such as 7d, 12h, 30m or 90s")
    return timedelta(seconds=int(found[1]) * SECONDS[found[2]])


def _used(environ: Mapping[str, str], bounds: Bounds) -> Used:
    workloads = Workloads.of_this_pod(environ)
    return lambda runs: workloads.naming(runs, Deadline(bounds.limits))
