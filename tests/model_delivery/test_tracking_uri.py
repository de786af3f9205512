import pytest

from model_delivery.errors import InvalidInputError
from model_delivery.tracking_uri import parse_tracking_uri


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("http://mlflow.mlflow-efs:5000", "http://mlflow.mlflow-efs:5000"),
        ("http://mlflow", "http://mlflow:80"),
        ("https://mlflow.example.com/", "https://mlflow.example.com:443"),
        ("HTTPS://MLflow.example.com/mlflow//", "https://mlflow.example.com:443/mlflow"),
        ("http://10.0.0.7:5000", "http://10.0.0.7:5000"),
        ("http://[fd00::1]:5000", "http://[fd00::1]:5000"),
        ("http://user:hunter2@mlflow:5000", "http://mlflow:5000"),
        ("http://user:hunt%40er2@mlflow/mlflow", "http://mlflow:80/mlflow"),
        ("http://@mlflow", "http://mlflow:80"),
        (" http://mlflow:5000 \r\n", "http://mlflow:5000"),  # as a Secret holds what `echo` has written
    ],
)
def test_an_address_is_read(value: str, meaning: str) -> None:
    assert str(parse_tracking_uri(value)) == meaning


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "is not set"),
        ("", "is not set"),
        (" \n", "is not set"),
        ("mlflow:5000", "is neither http nor https"),
        ("databricks", "is neither http nor https"),
        ("sqlite:///mlflow.db", "is neither http nor https"),
        ("http://mlflow:5000/?token=hunter2", "holds a query or a fragment"),
        ("http://mlflow:5000/#", "holds a query or a fragment"),
        ("http://", "names no host"),
        ("http://:5000", "names no host"),
        ("http://ml flow", "names no host"),
        ("http://ml..flow", "names no host"),
        ("http://mlflow:port", "is not a URI"),
        ("http://mlflow:99999", "is not a URI"),
        ("http://[fd00::1", "is not a URI"),
        ("http://mlflow/a b", "holds characters"),
        ("http://mlflow/ü", "holds characters"),
    ],
    ids=ascii,
)
def test_value_that_is_no_address_is_refused_without_being_shown(value: str | None, fault: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_tracking_uri(value)

    assert fault in str(refused.value)
    assert "hunter2" not in str(refused.value)
