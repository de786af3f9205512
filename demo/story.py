"""The demo's story, in the order in which a model goes its way."""

import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from demo import asking, checks, production, staging, training
from demo.narrator import Narrator
from demo.refusals import try_what_is_refused
from demo.scene import Scene
from demo.tracking import start_mlflow
from demo.try_it import commands


def tell(*, keep: bool) -> bool:
    """Plays the story; True when everything that it checked was right. Every process has ended when it returns or
    raises.
    """
    started = time.monotonic()
    with ExitStack() as processes:
        directory = Path(processes.enter_context(tempfile.TemporaryDirectory(prefix="model-api-demo-")))
        scene = Scene(directory=directory, processes=processes, say=Narrator())
        gate = start_mlflow(scene)
        notebook = training.train(scene, gate)
        installation = staging.start_domino(scene, gate)
        first = staging.stage(scene, gate, installation, 1)
        staging.show_pod(scene, installation, first)
        endpoint = asking.serve(scene, first)
        answers = asking.ask(scene, gate, first, endpoint)
        project = production.open_repository(scene, gate)
        production.merge(scene, gate, project, 1)
        second = staging.stage(scene, gate, installation, 2)
        production.merge(scene, gate, project, 2)
        production.roll_back(scene, gate, project)
        refusals = try_what_is_refused(scene, gate)
        held = {
            **checks.of_the_pod(installation, first, answers),
            **checks.of_production(gate, refusals),
            **checks.of_secrets(scene, gate, installation, notebook, [first, second]),
        }
        scene.say.checks(held, seconds=time.monotonic() - started)
        if keep:
            scene.say.commands(commands(scene, gate, installation, first, endpoint))
            signal.pause()
    return all(held.values())
