"""What a person can type while the demo is left running: a purpose, and a command for it."""

import json

import yaml

from demo.asking import three_wines
from demo.scene import JANE, NAME, Scene, janes
from demo.staging import Installation, Staged
from testbed.gate import PASSWORD, PROJECT, Gate


def commands(scene: Scene, gate: Gate, installation: Installation, staged: Staged, endpoint: str) -> dict[str, str]:
    admitted = scene.directory / "admitted.yaml"
    admitted.write_text(yaml.safe_dump(staged.running.pod, sort_keys=False))
    environment = scene.directory / "jane.env"
    environment.write_text("".join(f"export {name}='{value}'\n" for name, value in (janes(gate) | installation.domino.environ()).items()))
    return {
        "be Jane, in this terminal": f". {environment}",
        "what is where": f".venv/bin/model-api status --project {PROJECT}",
        "where Production is called": f".venv/bin/model-api url --name {NAME} --alias production",
        **predictions(staged, endpoint),
        "why the pod is injected, rule by rule": f".venv/bin/model-api-webhook explain -f {admitted}",
        "who did what": f"tail -3 {gate.audit}",
        f"MLflow, in a browser, as {JANE} with the password '{PASSWORD}'": gate.uri,
    }


def predictions(staged: Staged, endpoint: str) -> dict[str, str]:
    rows = three_wines()
    wine = dict(zip(rows["columns"], rows["data"][0], strict=True))
    post = f"curl -s {endpoint}/invocations -H 'Content-Type: application/json' -d"
    return {
        "a prediction, from the staged model API": f"curl -s {staged.url} -d '{json.dumps({'data': {'vars': [wine]}})}'",
        "a prediction, from the runtime's server": f"{post} '{json.dumps({'dataframe_records': [wine]})}'",
        "a value that the model's signature refuses": f"{post} '{json.dumps({'dataframe_records': [wine | {'pH': 'sour'}]})}'",
    }
