"""The steps of the demo, in their order."""

import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from demo import checks, predictions, production, staging, training
from demo.commands import commands
from demo.context import DemoContext, start_mlflow
from demo.refusals import try_what_is_refused
from demo.terminal import Terminal


def run(*, keep: bool) -> bool:
    """Run the demo; return True if every check held. Every process has ended when it returns or raises."""
    started = time.monotonic()
    with ExitStack() as processes:
        directory = Path(processes.enter_context(tempfile.TemporaryDirectory(prefix="model-api-demo-")))
        context = DemoContext(directory=directory, processes=processes, terminal=Terminal())
        gate = start_mlflow(context)
        notebook = training.train(context, gate)
        installation = staging.start_domino(context, gate)
        first = staging.stage(context, gate, installation, 1)
        staging.show_pod(context, installation, first)
        endpoint = predictions.serve(context, first)
        answers = predictions.ask(context, gate, first, endpoint)
        project = production.open_repository(context, gate)
        production.merge(context, gate, project, 1)
        second = staging.stage(context, gate, installation, 2)
        production.merge(context, gate, project, 2)
        production.roll_back(context, gate, project)
        refusals = try_what_is_refused(context, gate)
        held = {
            **checks.of_the_pod(installation, first, answers),
            **checks.of_production(gate, refusals),
            **checks.of_secrets(context, gate, installation, notebook, [first, second]),
        }
        context.terminal.checks(held, seconds=time.monotonic() - started)
        if keep:
            context.terminal.commands(commands(context, gate, installation, first, endpoint))
            signal.pause()
    return all(held.values())
