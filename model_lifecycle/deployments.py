"""The plugin for MLflow's deployments API: `mlflow deployments create -t domino --name wine -m models:/wine/2`."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click
from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    PERMISSION_DENIED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_PROJECT_ID
from model_lifecycle.domino.choice import model_apis
from model_lifecycle.domino.model_apis import model_url
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import InvalidError, LifecycleError, NotFoundError
from model_lifecycle.notebook import domino_of, registry_of, stage
from model_lifecycle.progress import ProgressLines
from model_lifecycle.registry import Model, Registry
from model_lifecycle.stages import STAGING_ALIAS
from model_lifecycle.staging.example_call import call_model_api
from model_lifecycle.staging.marks import ModelApiIds, deployed_version, model_api_ids
from model_lifecycle.staging.removal import remove
from model_lifecycle.staging.request import PROJECT

Json = dict[str, Any]
FLAVOR: Final = "python_function"
CODES: Final = {
    ExitCode.INVALID_INPUT: INVALID_PARAMETER_VALUE,
    ExitCode.NOT_AUTHORISED: PERMISSION_DENIED,
    ExitCode.NOT_FOUND: RESOURCE_DOES_NOT_EXIST,
    ExitCode.PRECONDITION: INVALID_STATE,
    ExitCode.UNAVAILABLE: TEMPORARILY_UNAVAILABLE,
}
# The last @ begins the alias: a name may hold another.
NAME: Final = re.compile(r"(?P<model>[^/:]+?)(?:/(?P<number>[0-9]{1,9})|@(?P<alias>[\w-]{1,255}))?")
MODEL_URI: Final = re.compile(r"models:/+(?P<model>[^/:]+?)(?:/(?P<number>[0-9]{1,9})|@(?P<alias>[\w-]{1,255}))")


def boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("true or false")
    return text.lower() == "true"


# What `-C name=value` may be, and what `stage` calls it. MLflow hands over texts.
CONFIG: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "env_id": ("env_id", str),
    "owner": ("owner", str),
    "wait": ("wait", float),
    "call": ("call", boolean),
    "alias_only": ("alias_only", boolean),
    "domino_url": ("domino_url", str),
    "domino_api": ("domino_api", str),
}
HELP: Final = """Domino's model APIs.

A version of a registered model becomes a model API of its own, and goes to Staging: as `model-api stage` does.

    mlflow deployments create  -t domino --name wine -m models:/wine/2
    mlflow deployments get     -t domino --name wine              the version behind the alias staging
    mlflow deployments get     -t domino --name wine@production   or another alias, or wine/2
    mlflow deployments predict -t domino --name wine -I rows.json
    mlflow deployments update  -t domino --name wine -m models:/wine/3
    mlflow deployments delete  -t domino --name wine/2
    mlflow deployments list    -t domino

MLflow is found by MLFLOW_TRACKING_URI, with MLFLOW_TRACKING_TOKEN or a user and a password; Domino by
DOMINO_API_PROXY, or by DOMINO_API_HOST with DOMINO_USER_API_KEY or DOMINO_TOKEN_FILE. In a workspace of Domino all of
it is set.

-C env_id=...        Domino's environment; without it, DOMINO_ENVIRONMENT_ID
-C owner=...         for MLFLOW_MODEL_OWNER
-C wait=900          seconds until it has to run
-C call=false        do not call it with the model's own example
-C alias_only=true   leave the stage alone
-C domino_url=...    Domino's address
-C domino_api=older  the API of python-domino 2.2, or public
"""


class DominoDeploymentError(MlflowException, click.ClickException):  # type: ignore[misc]  # both have a message, and it is the same
    """An error of MLflow for Python, and a message with an exit code of `model-api` on the command line."""

    def __init__(self, error: LifecycleError) -> None:
        click.ClickException.__init__(self, str(error))
        MlflowException.__init__(self, str(error), error_code=CODES.get(error.exit_code, INVALID_STATE))
        self.exit_code = error.exit_code  # type: ignore[misc]  # each error has its own


@contextmanager
def mlflow_errors() -> Iterator[None]:
    try:
        yield
    except LifecycleError as error:
        raise DominoDeploymentError(error) from error


class DominoDeploymentClient(BaseDeploymentClient):
    """A client for deployments, which have the names of their models.

    `wine` is the version with the alias staging; `wine/2` and `wine@production` are others.
    """

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, str] | None = None,
        endpoint: str | None = None,
    ) -> Json:
        with mlflow_errors():
            check_unsupported(flavor, endpoint)
            model, version = version_of(name, model_uri)
            staged = stage(model, version, progress=ProgressLines(), **options_of(config or {}))
            return {
                "name": staged.name,
                "flavor": FLAVOR,
                "version": staged.version,
                "url": staged.url,
                "model_id": staged.model_id,
            }

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, str] | None = None,
        endpoint: str | None = None,
    ) -> Json:
        """Stage another version: it gets its own model API, and the alias staging moves to it."""
        if model_uri is None:
            with mlflow_errors():
                raise InvalidError("name the version that it is updated to, such as -m models:/wine/3")
        return self.create_deployment(name, model_uri, flavor, config, endpoint)

    def delete_deployment(
        self, name: str, config: Mapping[str, str] | None = None, endpoint: str | None = None
    ) -> None:
        """Remove the model API. Raises PreconditionError for a version in Production."""
        with mlflow_errors(), registry_of(tracking_uri()) as registry, domino_of() as rest:
            check_unsupported(None, endpoint)
            model, ids = deployed_model(registry, name)
            remove(registry, model_apis(rest), model, ids)

    def list_deployments(self, endpoint: str | None = None) -> list[Json]:
        """Return each version with a model API: of the workspace's project, or of all visible models."""
        project = os.environ.get(PROJECT, "").lower()
        with mlflow_errors(), registry_of(tracking_uri()) as registry:
            check_unsupported(None, endpoint)
            models = [
                registry.model(name) for name, tags in registry.models() if project in {"", tags.get(TAG_PROJECT_ID)}
            ]
            return [
                {
                    "name": f"{model.name}/{version.version}",
                    "stage": version.stage,
                    "model_id": model_api_ids(version).model_id,
                }
                for model in models
                for version in model.versions
                if model_api_ids(version).model_id
            ]

    def get_deployment(self, name: str, endpoint: str | None = None) -> Json:
        with mlflow_errors(), registry_of(tracking_uri()) as registry, domino_of() as rest:
            check_unsupported(None, endpoint)
            model, ids = deployed_model(registry, name)
            published = model_apis(rest).read_version(ids.model_id or "", ids.model_version_id or "")
            aliases = [alias for alias, number in model.aliases.items() if number == ids.version.version]
            return {
                "name": model.name,
                "version": ids.version.version,
                "stage": ids.version.stage,
                "aliases": aliases,
                "flavor": FLAVOR,
                "model_id": published.model_id,
                "model_version_id": published.version_id,
                "status": published.status_text,
                "url": url_of(rest, ids),
            }

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """Call a model API. `inputs` is a DataFrame, or a value that MLflow's protocol has under `inputs`."""
        with mlflow_errors(), registry_of(tracking_uri()) as registry, domino_of() as rest:
            check_unsupported(None, endpoint)
            _, ids = deployed_model(registry, deployment_name or "")
            model_answer = call_model_api(rest, url_of(rest, ids), body_of(inputs))
            return PredictionsResponse({"predictions": model_answer.result})


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, str] | None = None) -> None:
    """Raise InvalidError: Domino has no local form. The runtime that a model API imports has one."""
    with mlflow_errors():
        raise InvalidError(
            "Domino does not run here: `model-api-runtime serve --model-path <folder>` serves the files of a model as"
            " its pod does"
        )


def target_help() -> str:
    return HELP


def check_unsupported(flavor: str | None, endpoint: str | None) -> None:
    if endpoint is not None:
        raise InvalidError("Domino's model APIs are not grouped in endpoints: leave --endpoint out")
    if flavor not in {None, FLAVOR}:
        raise InvalidError(f"models are served as {FLAVOR}: leave --flavor out")


def version_of(name: str, model_uri: str) -> tuple[str, str]:
    """Return name and version that a model URI means. Raises InvalidError, NotFoundError."""
    matched = MODEL_URI.fullmatch(model_uri)
    if not matched:
        raise InvalidError(
            f"{model_uri!r:.80} names no registered version, such as models:/wine/2 or models:/wine@staging; register"
            " it first"
        )
    if name != matched["model"]:
        raise InvalidError(f"a deployment in Domino has the name of its model: --name {matched['model']}")
    if matched["number"]:
        return name, matched["number"]
    with registry_of(tracking_uri()) as registry:
        return name, deployed_version(registry.model(name), alias=matched["alias"]).version.version


def options_of(config: Mapping[str, str]) -> Json:
    """Return the options of `stage` for a config of MLflow. Raises InvalidError."""
    options: Json = {"tracking": tracking_uri()}
    for key, value in config.items():
        if key not in CONFIG:
            raise InvalidError(f"-C {key} is not known; there are {', '.join(CONFIG)}")
        name, read = CONFIG[key]
        try:
            options[name] = read(str(value))
        except ValueError as error:
            raise InvalidError(f"-C {key}={value!r:.40}: {error}") from error
    return options


def deployed_model(registry: Registry, name: str) -> tuple[Model, ModelApiIds]:
    """Return the model and the model API that a deployment's name means. Raises InvalidError, NotFoundError."""
    matched = NAME.fullmatch(name)
    if not matched:
        raise InvalidError(f"{name!r:.80} names no deployment; it must be such as wine, wine/2 or wine@production")
    model = registry.model(matched["model"])
    alias = None if matched["number"] else matched["alias"] or STAGING_ALIAS
    ids = deployed_version(model, number=matched["number"], alias=alias)
    if ids.model_id is None:
        raise NotFoundError(f"{model.name!r} version {ids.version.version} has no model API: create makes one")
    return model, ids


def url_of(rest: DominoRest, ids: ModelApiIds) -> str:
    return model_url(rest.access.public_uri, ids.model_id or "")


def body_of(inputs: Any) -> Json:
    """Return the inputs as a body of MLflow's protocol."""
    if hasattr(inputs, "to_json"):
        return {"dataframe_split": json.loads(inputs.to_json(orient="split", index=False))}
    return {"inputs": inputs.tolist() if hasattr(inputs, "tolist") else inputs}


def tracking_uri() -> str | None:
    """Return the URI that the session has set by `mlflow.set_tracking_uri`, if it is a server's."""
    import mlflow  # noqa: PLC0415  not while MLflow itself is being imported

    uri = mlflow.get_tracking_uri()
    return uri if uri.startswith(("http://", "https://")) else None
