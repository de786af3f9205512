"""Attempts that the gate refuses, and its answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from demo.context import NAME, DemoContext, model_api
from model_contract.exit_codes import ExitCode
from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, PROJECT, Gate

CONFLICT: Final = 409
# Before anything was tried, or when MLflow was asked; what had begun by then was put back.
REFUSED: Final = {ExitCode.NOT_AUTHORISED, ExitCode.PUT_BACK}
FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """True for each attempt that was refused, and the registry before and after all of them."""

    refused: Mapping[str, bool]
    before: object
    after: object


def try_what_is_refused(context: DemoContext, gate: Gate) -> Refusals:
    with context.terminal.step("Try what must not work"):
        before = registry(gate)
        refused = {
            "a pod's pull token cannot promote": try_to_promote(
                context, gate, "the pull token of a pod", gate.token(Purpose.PULL)
            ),
            "another project's token cannot promote": try_to_promote(
                context, gate, "another project's promote token", gate.token(Purpose.PROMOTE, OTHER)
            ),
            "files of the version in Production cannot be overwritten": try_to_overwrite(context, gate),
        }
    return Refusals(refused=refused, before=before, after=registry(gate))


def try_to_promote(context: DemoContext, gate: Gate, who: str, token: str) -> bool:
    """Try to promote version 2, which the project's own promote token could bring back."""
    file = context.directory / "model_version.json"
    file.write_text(json.dumps({PROJECT: [{"name": NAME, "version": 2}]}))
    ended = model_api("promote", str(file), environ={"MLFLOW_TRACKING_URI": gate.uri, "MLFLOW_TRACKING_TOKEN": token})
    said = (ended.stderr or ended.stdout).strip().splitlines()
    context.terminal.refusal(f"promote with {who}", f"exit {ended.returncode}: {said[-1] if said else ''}")
    return ended.returncode in REFUSED


def try_to_overwrite(context: DemoContext, gate: Gate) -> bool:
    path = f"{FILES}/{directory_of_production(gate)}/MLmodel"
    answer = gate.ask("PUT", path, b"flavors: {}\n", gate.basic("jane"))
    context.terminal.refusal(
        "Jane writes over MLmodel of the version in Production", f"{answer.status}: {answer.message}"
    )
    return answer.status == CONFLICT


def directory_of_production(gate: Gate) -> str:
    found = gate.ask(
        "GET", f"{API}/registered-models/alias?name={NAME}&alias=production", headers=gate.basic("jane")
    ).json
    version = found["model_version"]["version"]
    uri = gate.ask(
        "GET", f"{API}/model-versions/get-download-uri?name={NAME}&version={version}", headers=gate.basic("jane")
    ).json
    return re.sub(r"^mlflow-artifacts:(?://[^/]*)?/+", "", uri["artifact_uri"])


def registry(gate: Gate) -> object:
    """Return MLflow's data of the model's versions, and the bytes of their files."""
    versions = gate.ask("GET", f"{API}/model-versions/search", headers=gate.basic("jane")).json["model_versions"]
    files = {path: path.read_bytes() for path in sorted(gate.server.artifacts.rglob("*")) if path.is_file()}
    return versions, files
