"""The policy's table against the tables of MLflow itself."""

import pytest

from tests.tracking_gate.conftest import example
from tracking_gate.policy.guarded_operations import OPERATIONS
from tracking_gate.policy.routes import ROUTES, RouteAccess, match


def test_every_route_of_mlflow_is_known(mlflow_routes: list[tuple[str, str]]) -> None:
    assert [f"{method} {path}" for method, path in mlflow_routes if match(method, path) is None] == []


def test_api_and_ajax_api_are_treated_alike() -> None:
    for route in ROUTES:
        if "/API/" in route.path:
            path = example(route.path)
            for method in route.methods:
                both = [match(method, path.replace("/API/", f"/{root}/")) for root in ("api", "ajax-api")]
                assert both[0] and both[1]
                assert both[0].route is both[1].route


def test_every_guarded_route_has_one_operation() -> None:
    guarded = [route for route in ROUTES if route.access is RouteAccess.GUARDED]
    assert [route.operation for route in guarded] == list(OPERATIONS)
    assert len({route.rule for route in guarded}) == len(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/3.0/mlflow/model-versions/transition-stage"),
        ("POST", "/api/2.0/preview/mlflow/model-versions/transition-stage"),
        ("POST", "/api/2.0/mlflow/model-versions/transition-stage/"),
        ("PUT", "/api/2.0/mlflow/model-versions/transition-stage"),
        ("POST", "/mlflow/api/2.0/mlflow/model-versions/transition-stage"),
        ("TRACE", "/"),
        ("CONNECT", "/"),
        ("POST", "/"),
        ("GET", "/metrics"),
    ],
)
def test_route_that_is_not_in_the_table_is_unknown(method: str, path: str) -> None:
    assert match(method, path) is None


def test_head_is_served_as_get() -> None:
    found = match("HEAD", "/api/2.0/mlflow-artifacts/artifacts/1/x")
    assert found
    assert found.route.access is RouteAccess.OBJECT
