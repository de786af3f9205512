"""The checks at the end of the demo."""

import json
from collections.abc import Sequence

from demo.context import NAME, DemoContext
from demo.predictions import Answers
from demo.refusals import Refusals
from demo.staging import CUT, Installation, Staged
from model_contract.tokens import Purpose
from testbed.api_server import patch_of
from testbed.gate import OTHER, PASSWORD, PROJECT, Gate
from testbed.notebooks import Notebook


def of_the_pod(installation: Installation, staged: Staged, answers: Answers) -> dict[str, bool]:
    """Return each claim, and True if it holds."""
    admitted = staged.running.pod
    return {
        "the fetch that was cut went on to the whole model": any(CUT in line for line in staged.log),
        "the staged model API predicts what MLflow itself does": answers.function == answers.mlflow,
        "so does the runtime's server": answers.server == answers.mlflow,
        "nothing that the pod's author wrote was changed": holds_all_of(admitted, staged.created),
        "the admitted pod, reviewed again, stays as it is": patch_of(installation.webhook.review(admitted)) == [],
    }


def of_production(gate: Gate, refusals: Refusals) -> dict[str, bool]:
    return {
        "version 1 was in Production, then 2, then 1 again: never both": moves_to_production(gate) == ["1", "2", "1"],
        **refusals.refused,
        "what was refused has changed nothing": refusals.before == refusals.after,
    }


def of_secrets(
    context: DemoContext, gate: Gate, installation: Installation, notebook: Notebook, pods: Sequence[Staged]
) -> dict[str, bool]:
    """Search the notebook, the pods, every log, the audit log and the files of GitHub's jobs for secrets."""
    files = [
        path
        for pattern in ("*.log", "*.jsonl", "runner/job-*/**/*")
        for path in context.directory.glob(f"**/{pattern}")
        if path.is_file()
    ]
    written = [path.read_text(errors="replace") for path in files]
    everything = "".join([*written, json.dumps(notebook), *(json.dumps(pod.running.pod) for pod in pods)])
    tokens = [gate.token(purpose, project) for purpose in Purpose for project in (PROJECT, OTHER)]
    return {
        "no token and no password is in any of it": not any(
            one in everything for one in (*tokens, PASSWORD, installation.domino.api_key)
        )
    }


def moves_to_production(gate: Gate) -> list[str]:
    """Return the versions in their order, by the gate's audit log. The same move archives the version before."""
    moves = [line for line in gate.lines() if line.get("model") == NAME and line.get("to_stage") == "Production"]
    return [line["version"] for line in moves if line["decision"] == "allow"]


def holds_all_of(whole: object, part: object) -> bool:
    """Return True if everything in `part` stands unchanged in `whole`; in lists, in the same order."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and holds_all_of(whole[key], value) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        remaining = iter(whole)
        return all(any(holds_all_of(there, item) for there in remaining) for item in part)
    return whole == part
