"""Pods that one version of the webhook has admitted, before the other: two replicas of a rollout see the same pod."""

import json
from typing import Any

import yaml

from testbed.api_server import apply_answer, patch_of, review_of
from testbed.former_version import Version, this_version
from tests.upgrades.conftest import SCRIPTS, Step

Json = dict[str, Any]
PREFIX = "MODEL_API_WEBHOOK_"
IMAGE = f"{PREFIX}DELIVERY_IMAGE"


def cases(former: Version) -> list[tuple[Json, Json, Json]]:
    """Return settings, fields of the request and pod of each case that the former version knows."""
    found = []
    for path in sorted((former.source / "tests" / "webhook" / "cases").glob("*.yaml")):
        expected, pod, *_ = yaml.safe_load_all(path.read_text())
        settings = {PREFIX + key: value for key, value in expected.get("settings", {}).items()}
        found.append((settings, expected.get("request", {}), pod))
    return found


def admitted(version: Version, asked: list[tuple[Json, Json, Json]]) -> list[Json]:
    given = json.dumps([(settings, review_of(pod, **request)) for settings, request, pod in asked])
    answers: list[Json] = json.loads(version.script(SCRIPTS / "admit.py", given))
    return answers


def test_pod_that_one_version_admitted_is_whole_to_the_other(step: Step, former: Version) -> None:
    """The API server may show a pod to a second replica, of the other version, when another webhook changed it."""
    asked = cases(former)
    answers = admitted(step.first, asked)
    pods = [apply_answer(pod, answer) for (_, _, pod), answer in zip(asked, answers, strict=True)]
    let_in = [index for index, answer in enumerate(answers) if answer["response"]["allowed"]]
    again = admitted(step.then, [(asked[index][0], asked[index][1], pods[index]) for index in let_in])

    assert len(let_in) > 100
    assert [answer["response"] for answer in again if not answer["response"]["allowed"]] == []
    assert [operations for answer in again if (operations := patch_of(answer))] == []


def test_decision_about_a_pod_is_the_same(former: Version) -> None:
    asked = cases(former)
    decisions = [
        [
            (one["response"]["allowed"], one["response"]["auditAnnotations"]["reason"])
            for one in admitted(version, asked)
        ]
        for version in (former, this_version())
    ]

    assert decisions[0] == decisions[1]


def test_pod_with_the_image_of_another_version_is_refused_by_its_name(step: Step, former: Version) -> None:
    """So a pod that a third webhook changes in the middle of a rollout is made again by its controller."""
    pod = yaml.safe_load((former.source / "examples" / "model-api-pod.yaml").read_text())
    [made] = admitted(step.first, [({IMAGE: "model-api-delivery:1"}, {}, pod)])
    changed = apply_answer(pod, made)
    [answer] = admitted(step.then, [({IMAGE: "model-api-delivery:2"}, {}, changed)])

    assert answer["response"]["allowed"] is False
    assert "image differs" in answer["response"]["status"]["message"]
