"""`model-api-webhook`: the server, and the same decision on files."""

import json
import os
import sys
from pathlib import Path
from typing import Final

import click

from model_contract.exit_codes import ExitCode
from webhook.review import InvalidReview
from webhook.settings import Settings, SettingsError

FILE: Final = click.option(
    "-f", "--filename", required=True, metavar="FILE", help='Kubernetes objects in YAML or JSON; "-" is standard input.'
)
SETTINGS: Final = click.option(
    "--settings",
    "settings_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The webhook's settings: lines of KEY=VALUE, or the ConfigMap. Without it they are read from the environment.",
)
NAMESPACE: Final = click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of objects that name none.")


class InvalidInputError(click.ClickException):
    """Ends the command with one sentence."""

    exit_code = ExitCode.INVALID_INPUT


class Commands(click.Group):
    """Turns what is wrong with the input into a sentence and an exit code, for every command."""

    def invoke(self, ctx: click.Context) -> object:
        from webhook.offline.documents import DocumentError  # noqa: PLC0415  the server starts faster without YAML

        try:
            return super().invoke(ctx)
        except (SettingsError, InvalidReview, DocumentError) as error:
            raise InvalidInputError(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflow-model-api")
def main() -> None:
    """Brings MLflow models to the pods that ask for them."""


@main.command()
def serve() -> None:
    """Answer the API server. Everything is set by variables, which docs/reference/webhook-commands.md lists."""
    from webhook.server.logs import configure  # noqa: PLC0415  as above
    from webhook.server.settings import ServerSettings  # noqa: PLC0415  the other commands start faster without the server
    from webhook.server.supervisor import Supervisor  # noqa: PLC0415  as above
    from webhook.server.tls import CertificateError  # noqa: PLC0415  as above

    settings, server = Settings.from_mapping(os.environ), ServerSettings.from_mapping(os.environ)
    configure(server.log_level)
    try:
        supervisor = Supervisor(settings, server)
    except CertificateError as error:
        raise InvalidInputError(str(error)) from error
    supervisor.run()


@main.command()
@SETTINGS
def review(settings_file: Path | None) -> None:
    """Answer the AdmissionReview on standard input, as the server would. Exits with 6 where it denies."""
    from webhook.offline.review import answer_of  # noqa: PLC0415  as above

    answer, allowed = answer_of(sys.stdin.buffer.read(), read_settings(settings_file))
    click.echo(answer)
    sys.exit(ExitCode.DONE if allowed else ExitCode.PRECONDITION)


@main.command()
@FILE
@NAMESPACE
@SETTINGS
def inject(filename: str, namespace: str, settings_file: Path | None) -> None:
    """Print the objects of FILE as if the webhook had seen their pods; say on standard error what was done.

    Nothing is printed where one of them is denied, which exits with 6.
    """
    from webhook.offline import documents, inject  # noqa: PLC0415  as above

    objects = inject.inject(documents.read_documents(filename), read_settings(settings_file), namespace=namespace)
    for item in objects:
        if item.report:
            click.echo(item.report, err=True)
    if any(item.denied for item in objects):
        sys.exit(ExitCode.PRECONDITION)
    click.echo(inject.written(objects), nl=False)


@main.command()
@FILE
@NAMESPACE
@SETTINGS
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def explain(filename: str, namespace: str, settings_file: Path | None, output: str) -> None:
    """Say of each pod in FILE why it gets a model or not, rule by rule."""
    from webhook.offline.documents import DocumentError, read_documents  # noqa: PLC0415  as above
    from webhook.offline.explanation import explain as explanation_of  # noqa: PLC0415  as above
    from webhook.offline.workloads import members, namespace_labels, workload_of  # noqa: PLC0415  as above

    contents = [content for document in read_documents(filename) for _, content in members(document.content)]
    workloads = [workload for content in contents if (workload := workload_of(content, namespace=namespace))]
    if not workloads:
        raise DocumentError(f"{filename} holds no pod, and nothing that makes pods")
    labels, settings = namespace_labels(contents), read_settings(settings_file)
    explanations = [explanation_of(workload, settings, labels=labels.get(workload.namespace)) for workload in workloads]
    if output == "json":
        click.echo(json.dumps([explanation.as_json() for explanation in explanations], indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415  as above

        from webhook.offline.table import show  # noqa: PLC0415  as above

        for explanation in explanations:
            show(explanation, Console(highlight=False))


def read_settings(file: Path | None) -> Settings:
    """From the file, or from the environment. Raises SettingsError, DocumentError."""
    from webhook.offline.settings_file import read  # noqa: PLC0415  as above

    return Settings.from_mapping(os.environ if file is None else read(file))
