"""The example of a Job that scores a table gets its model as a model API does."""

from pathlib import Path
from typing import Final

import orjson
import yaml

from testbed.api_server import apply_answer, review_of
from webhook.admission import admit
from webhook.reasons import Reason
from webhook.review import parse
from webhook.settings import Settings

JOB: Final = Path(__file__).parents[2] / "manifests/examples/score-table-job.yaml"


def test_pod_of_the_scoring_job_gets_the_model() -> None:
    job = yaml.safe_load(JOB.read_text())
    pod = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    review = parse(orjson.dumps(review_of(pod, namespace=job["metadata"]["namespace"])))

    answer = admit(review, Settings.from_mapping({}))

    admitted = apply_answer(pod, answer)
    (container,) = admitted["spec"]["containers"]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert answer["response"]["auditAnnotations"] == {"reason": Reason.INJECTED}
    assert mounts["mlflow-model"].startswith("/artifacts/mlflow/jane.doe/")  # where the runtime looks for it
    assert container["args"] == job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert admitted["spec"]["initContainers"]
