"""A model in an object store, and the version of a real MLflow that has the store's address as its source."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from obstore.store import AzureStore, GCSStore, S3Store

from model_contract.model_ref import ModelRef
from testbed.s3_server import S3Server

Store = AzureStore | GCSStore | S3Store


def s3_bucket(server: S3Server, name: str) -> S3Store:
    """Create a bucket, and return it for uploads."""
    server.bucket(name)
    return S3Store(
        name,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )


def upload(bucket: Store, path: str, files: Mapping[str, bytes]) -> None:
    """Put the files below a path of the bucket."""
    for name, content in files.items():
        bucket.put(f"{path}/{name}", content)


def register(
    mlflow: str, name: str, source: str, *, run_id: str = "", tags: Mapping[str, str] | None = None
) -> ModelRef:
    """Register version 1 of a new model in MLflow, which does not look at an address outside its own artifacts."""
    post(mlflow, "registered-models/create", name=name)
    found = [{"key": key, "value": value} for key, value in (tags or {}).items()]
    post(mlflow, "model-versions/create", name=name, source=source, run_id=run_id, tags=found)
    return ModelRef(name=name, version="1", owner="jane.doe", run_id=run_id or "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5")


def post(mlflow: str, endpoint: str, **document: object) -> dict[str, Any]:
    """Send a request to MLflow's REST API."""
    request = urllib.request.Request(  # noqa: S310  http to this machine
        f"{mlflow}/api/2.0/mlflow/{endpoint}",
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        found: dict[str, Any] = json.loads(answer.read())
    return found
