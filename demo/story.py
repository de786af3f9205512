"""The demo's story, in the order in which a model goes its way."""

import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from demo import steps
from demo.checks import all_checks
from demo.narrator import Narrator
from demo.pods import pod_for
from demo.stage import Stage
from demo.try_it import admission_commands, prediction_commands


def tell(*, keep: bool) -> bool:
    """Plays the story; True when everything that it checked was right. Every process has ended when it returns or raises."""
    started = time.monotonic()
    with ExitStack() as processes:
        directory = Path(processes.enter_context(tempfile.TemporaryDirectory(prefix="model-api-demo-")))
        stage = Stage(directory=directory, processes=processes, say=Narrator())
        mlflow = steps.start_mlflow(stage)
        registered = steps.train(stage, mlflow)
        webhook = steps.start_webhook(stage, tracking_uri=mlflow.guarded_uri)
        pod = pod_for(registered.ref)
        admitted = steps.admit(stage, webhook, pod)
        delivered = steps.deliver(stage, admitted, registered.ref)
        endpoint = steps.serve(stage, delivered)
        answers = steps.predict(stage, endpoint, delivered, mlflow, registered)
        checks = all_checks(stage, webhook, pod, admitted, answers)
        stage.say.checks(checks, seconds=time.monotonic() - started)
        if keep:
            stage.say.commands(prediction_commands(endpoint, registered) | admission_commands(stage, webhook, mlflow, delivered))
            signal.pause()
    return all(checks.values())
