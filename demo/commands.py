"""Commands that a person can type while the demo is left running, each with its purpose."""

import json
import os
import shlex
import sys
from pathlib import Path

import yaml

from demo.context import JANE, NAME, DemoContext, jane_environment
from demo.predictions import three_wines
from demo.staging import Installation, Staged
from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose
from testbed.gate import PASSWORD, PROJECT, Gate


def commands(
    context: DemoContext, gate: Gate, installation: Installation, staged: Staged, endpoint: str
) -> dict[str, str]:
    pod = context.directory / "pod.yaml"
    pod.write_text(yaml.safe_dump(staged.created, sort_keys=False))
    return {
        "be Jane, in this terminal": f". {workspace(context, gate, installation)}",
        "one more version; docs/tutorials/notebook-to-production.md goes on from here": (
            "cd examples/domino-project && jupyter execute --inplace mlflow-model.ipynb"
        ),
        "the versions in Staging and Production": "model-api status --project $DOMINO_PROJECT_ID",
        **predictions(staged, endpoint),
        "what a merge to main does: there is no GitHub here": (
            "model-api promote scripts/model_version.json --token-file $DEMO_PROMOTE_TOKEN"
        ),
        "what the form of model-rollback.yml does": (
            f'model-api rollback --project $DOMINO_PROJECT_ID --model {NAME} --to 2 --reason "to try it" --token-file'
            " $DEMO_PROMOTE_TOKEN"
        ),
        "why the pod is injected, rule by rule": f"model-api-webhook explain -f {pod}",
        "who did what": f"tail -3 {gate.audit}",
        f"MLflow, in a browser, as {JANE} with the password '{PASSWORD}'": gate.uri,
    }


def workspace(context: DemoContext, gate: Gate, installation: Installation) -> Path:
    """Write a file that gives a shell the variables of Jane's workspace, and return its path."""
    file = context.directory / "jane.env"
    promote_token = gate.secret_dir / str(TokenKey(project_id=PROJECT, purpose=Purpose.PROMOTE))
    variables = (
        {"DEMO_PROMOTE_TOKEN": str(promote_token)}
        | jane_environment(gate)
        | installation.domino.environ()
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    )
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    return file


def predictions(staged: Staged, endpoint: str) -> dict[str, str]:
    rows = three_wines()
    wine = dict(zip(rows["columns"], rows["data"][0], strict=True))
    post = f"curl -s {endpoint}/invocations -H 'Content-Type: application/json' -d"
    return {
        "a prediction, from the staged model API": (
            f"curl -s {staged.url} -d '{json.dumps({'data': {'vars': [wine]}})}'"
        ),
        "a prediction, from the runtime's server": f"{post} '{json.dumps({'dataframe_records': [wine]})}'",
        "a value that the model's signature refuses": (
            f"{post} '{json.dumps({'dataframe_records': [wine | {'pH': 'sour'}]})}'"
        ),
    }
