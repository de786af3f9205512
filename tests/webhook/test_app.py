"""A bug of the webhook is HTTP 500, so that the registration's `failurePolicy` decides."""

import json
import logging
from typing import Any, cast

import pytest

from testbed.api_server import review_of
from webhook.server.app import create_app, page
from webhook.server.metrics import Metrics
from webhook.server.reviews import Reviews
from webhook.settings import Settings


def test_a_bug_is_a_500_that_is_counted_and_logged_without_the_pod(
    pod: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    pod["spec"]["containers"][0]["env"].append({"name": "PASSWORD", "value": "s3cret"})
    metrics = Metrics()
    broken = cast("Settings", object())  # it has no setting: reading one fails
    with caplog.at_level(logging.INFO):
        reviews = Reviews(broken, metrics)
        reviewed = reviews.review(json.dumps(review_of(pod)).encode())
        reviews.log(reviewed)
        answer = reviewed.answer

    assert (answer.status, answer.body) == (500, b"the webhook failed; its log says why\n")
    assert metrics.registry.get_sample_value("model_api_webhook_errors_total", {"stage": "decide"}) == 1
    assert (
        metrics.registry.get_sample_value(
            "model_api_webhook_admission_requests_total", {"outcome": "error", "dry_run": "false"}
        )
        == 1
    )
    assert "Traceback" in caplog.text
    assert "AttributeError" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_server_with_an_expired_certificate_says_that_it_is_not_ready() -> None:
    app = create_app(lambda: "the certificate was valid until yesterday")
    answer = page(app, "GET", "/readyz")

    assert (answer.status, answer.body) == (503, b"the certificate was valid until yesterday\n")
    assert page(app, "GET", "/livez").status == 200
