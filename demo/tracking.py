"""MLflow, and the gate in front of it."""

from demo.scene import JANE, Scene
from testbed.gate import PROJECT, Gate, gate
from testbed.mlflow_server import mlflow_server


def start_mlflow(scene: Scene) -> Gate:
    with scene.say.step("Start a real MLflow, and the gate in front of it"):
        server = scene.processes.enter_context(mlflow_server("3.17", scene.directory / "mlflow"))
        found = scene.processes.enter_context(gate(server, scene.directory / "gate"))
        scene.say.note("MLflow 3.17: registry in SQLite, artifacts on disk; nobody talks to it but the gate")
        scene.say.note(f"the gate at {found.uri} knows {JANE} by her password, and project {PROJECT} by two tokens:")
        scene.say.note("one with which its pods may read, one with which its CI may promote")
    return found
