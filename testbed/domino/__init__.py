"""A fake Domino installation: its model APIs over HTTP, deployed for real.

    with mlflow_server("3.17", folder / "mlflow") as server, gate(server, folder / "gate") as found_gate:
        with webhook_server(folder / "webhook", {"MODEL_API_WEBHOOK_TRACKING_URI": found_gate.uri}) as webhook:
            with domino(folder / "domino", gate=found_gate, webhook=webhook) as installation:
                environ = installation.environ()  # a workspace's: DOMINO_API_HOST, DOMINO_USER_API_KEY, ...

It speaks the public model API of Domino 6 and the older one of python-domino 2.2 (`apis=("older",)`: only that one),
answers as both were recorded, and refuses what Domino refuses. A published version is a pod with the labels, the user
and the variables of its model API. The webhook admits the pod, its init container fetches through the gate with the
project's pull token, and the function of `model.py` (the project's files are those of `files`, copied when a version is
published) answers in a process of its own, at `<uri>/models/<id>/latest/model`, with Domino's envelope.

`slow`, `hold`, `fail_next_build`, `break_off_next` and `answer_next` make it fail as Domino does on a bad day;
`restart` stops it and starts it again at the same address with its records, while the pods go on. `requests` is every
request that it got.
"""

from testbed.domino.installation import Domino as Domino
from testbed.domino.installation import domino as domino
