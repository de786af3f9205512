"""Pages about the model."""

from openapi_spec_validator import validate

from testbed.runtime_server import RuntimeServer


def test_info_describes_the_model(wine: RuntimeServer) -> None:
    info = wine.get("/info").document

    assert (info["model"]["name"], info["model"]["flavor"], info["model"]["mlflow_version"]) == (
        "model",
        "sklearn",
        "3.17.2",
    )
    assert [column["name"] for column in info["signature"]["inputs"]] == ["fixed acidity", "pH", "alcohol"]
    assert set(info["example"]) == {"dataframe_split"}
    assert info["serving"]["loader"] in {"native", "mlflow"}
    assert info["serving"]["batches"] == {"merged": True, "reason": None}


def test_openapi_is_a_valid_document(wine: RuntimeServer) -> None:
    validate(wine.get("/openapi.json").document)


def test_docs_is_a_page(wine: RuntimeServer) -> None:
    answer = wine.get("/docs")

    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")
