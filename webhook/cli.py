"""`model-api-webhook`: the server, and the same decision on files."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model_contract.exit_codes import ExitCode
from model_contract.extras import extra_of_program
from model_contract.names import PLATFORM_NAMESPACE

EXTRA: Final = "webhook"

with extra_of_program(EXTRA):
    import click

    from model_contract.settings import SettingError
    from webhook.ends import InvalidInputError, NotFoundError, RefusedError, UnavailableError
    from webhook.review import InvalidReview
    from webhook.settings import Settings

if TYPE_CHECKING:
    from lightkube import Client

    from webhook.certificates.cluster import Objects
    from webhook.offline.inject import Injected

FILE: Final = click.option(
    "-f", "--filename", required=True, metavar="FILE", help='Kubernetes objects in YAML or JSON; "-" is standard input.'
)
SETTINGS: Final = click.option(
    "--settings",
    "settings_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The webhook's settings: lines of KEY=VALUE, or the ConfigMap. Without it they are read from the environment.",
)
NAMESPACE: Final = click.option(
    "-n", "--namespace", default="default", show_default=True, help="Namespace of objects that name none."
)

INSTALLED: Final = click.option(
    "-n",
    "--namespace",
    default=PLATFORM_NAMESPACE,
    show_default=True,
    help="Namespace in which the webhook is installed.",
)
CONTEXT: Final = click.option("--context", help="Context of the kubeconfig; without it, the current one.")


class Commands(click.Group):
    """Turns what is wrong with the input into a sentence and an exit code, for every command."""

    def invoke(self, ctx: click.Context) -> object:
        with extra_of_program(EXTRA):
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> object:
        from webhook.offline.documents import DocumentError  # noqa: PLC0415  the server starts faster without YAML

        try:
            return super().invoke(ctx)
        except (SettingError, InvalidReview, DocumentError) as error:
            raise InvalidInputError(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflow-model-api")
def main() -> None:
    """Brings MLflow models to the pods that ask for them."""


@main.command()
def serve() -> None:
    """Answer the API server. Everything is set by variables, which docs/reference/webhook-commands.md lists."""
    from webhook.server.logs import configure  # noqa: PLC0415  as above
    from webhook.server.settings import (  # noqa: PLC0415  the other commands start faster without the server
        ServerSettings,
    )
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
    from webhook.offline.inject import written  # noqa: PLC0415  as above

    click.echo(written(item.content for item in read_injected(filename, namespace, settings_file)), nl=False)


@main.command()
@FILE
@NAMESPACE
@SETTINGS
def diff(filename: str, namespace: str, settings_file: Path | None) -> None:
    """Print what the webhook would change in the objects of FILE, as a unified diff; where it denies one, exit with 6
    and print nothing.
    """
    from webhook.offline.inject import difference  # noqa: PLC0415  as above

    click.echo(difference(read_injected(filename, namespace, settings_file)), nl=False)


@main.command()
@INSTALLED
def render(namespace: str) -> None:
    """Print the webhook's registration and the policy behind it, for a webhook in that namespace."""
    from webhook.offline.inject import written  # noqa: PLC0415  as above
    from webhook.registration import mutating_webhook, policy  # noqa: PLC0415  as above

    click.echo(written([mutating_webhook(namespace), *policy(namespace)]), nl=False)


@main.command()
@click.argument("workload", required=False, metavar="[KIND/NAME]")
@click.option("-f", "--filename", metavar="FILE", help='Kubernetes objects in YAML or JSON; "-" is standard input.')
@NAMESPACE
@SETTINGS
@CONTEXT
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def explain(  # noqa: PLR0913, PLR0917  click hands over each option
    workload: str | None,
    filename: str | None,
    namespace: str,
    settings_file: Path | None,
    context: str | None,
    output: str,
) -> None:
    """Say of each pod in FILE why it gets a model or not, rule by rule; or of one object of the cluster, with the
    settings there.
    """
    from webhook.offline.documents import DocumentError  # noqa: PLC0415  as above
    from webhook.offline.explanation import explain as explanation_of  # noqa: PLC0415  as above
    from webhook.offline.workloads import namespace_labels, workload_of  # noqa: PLC0415  as above

    if (workload is None) == (filename is None):
        raise click.UsageError("name an object of the cluster, such as pod/x, or a file with -f")
    contents, settings = read_cluster(workload, namespace, context) if workload else (read_file(filename or ""), None)
    workloads = [found for content in contents if (found := workload_of(content, namespace=namespace))]
    if not workloads:
        raise DocumentError(f"{filename} holds no pod, and nothing that makes pods")
    labels = namespace_labels(contents)
    if settings is None or settings_file:
        settings = read_settings(settings_file)
    explanations = [explanation_of(found, settings, labels=labels.get(found.namespace)) for found in workloads]
    if output == "json":
        click.echo(json.dumps([explanation.as_json() for explanation in explanations], indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415  as above

        from webhook.offline.table import show  # noqa: PLC0415  as above

        for explanation in explanations:
            show(explanation, Console(highlight=False))


def read_injected(filename: str, namespace: str, settings_file: Path | None) -> "list[Injected]":
    from webhook.offline import documents, inject  # noqa: PLC0415  as above

    objects = inject.inject(documents.read_documents(filename), read_settings(settings_file), namespace=namespace)
    for item in objects:
        if item.report:
            click.echo(item.report, err=True)
    if any(item.denied for item in objects):
        sys.exit(ExitCode.PRECONDITION)
    return objects


def read_file(filename: str) -> list[dict[str, Any]]:
    from webhook.offline.documents import read_documents  # noqa: PLC0415  as above
    from webhook.offline.workloads import members  # noqa: PLC0415  as above

    return [content for document in read_documents(filename) for _, content in members(document.content)]


def read_cluster(workload: str, namespace: str, context: str | None) -> tuple[list[dict[str, Any]], Settings]:
    from webhook.doctor import live  # noqa: PLC0415  as above
    from webhook.doctor.view import View  # noqa: PLC0415  as above

    with cluster_client(context) as client:
        try:
            return live.read(View(client), workload, namespace)
        except live.NoWorkloadError as error:
            raise NotFoundError(str(error)) from error


@main.group()
def certs() -> None:
    """Look at the self-managed certificates of an installation, or replace them."""


@certs.command()
@INSTALLED
@CONTEXT
def status(namespace: str, context: str | None) -> None:
    """Say which certificates there are, until when, and whether the API server trusts them."""
    from webhook.certificates import commands  # noqa: PLC0415  as above

    with cluster_objects(context, namespace) as objects:
        for title, text in commands.status(objects):
            click.echo(f"{title:18}{text}")


@certs.command()
@INSTALLED
@CONTEXT
@click.option(
    "--ca", "authority", is_flag=True, help="Replace the authority as well: a minute, in which nothing is refused."
)
def rotate(namespace: str, context: str | None, authority: bool) -> None:
    """Replace the certificate now. Reviews go on being answered meanwhile."""
    from webhook.certificates import commands  # noqa: PLC0415  as above

    with cluster_objects(context, namespace) as objects:
        try:
            commands.rotate(objects, authority=authority, said=click.echo)
        except commands.RotationError as error:
            raise UnavailableError(str(error)) from error


@main.command()
@INSTALLED
@CONTEXT
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(namespace: str, context: str | None, output: str) -> None:
    """Look at an installation: what is right, and what to do about what is not. Exits with 6 where
    something is wrong.
    """
    from webhook.doctor.checks import examine, worst  # noqa: PLC0415  as above
    from webhook.doctor.findings import Health  # noqa: PLC0415  as above
    from webhook.doctor.installation import Installation  # noqa: PLC0415  as above
    from webhook.doctor.view import View  # noqa: PLC0415  as above

    with cluster_client(context) as client:
        findings = list(examine(Installation(view=View(client), namespace=namespace)))
    if output == "json":
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415  as above

        from webhook.doctor.table import show  # noqa: PLC0415  as above

        show(findings, Console(highlight=False))
    if worst(findings) is Health.BAD:
        sys.exit(ExitCode.PRECONDITION)


@contextmanager
def cluster_client(context: str | None) -> Iterator["Client"]:
    """Of the kubeconfig, or of the pod's ServiceAccount. Ends the command with a sentence where the cluster does not
    answer.
    """
    import httpx2  # noqa: PLC0415  as above
    from lightkube import Client, KubeConfig  # noqa: PLC0415  as above
    from lightkube.core.exceptions import ConfigError  # noqa: PLC0415  as above

    from webhook.certificates.cluster import MissingError  # noqa: PLC0415  as above

    try:
        try:
            configuration = KubeConfig.from_env().get(context)
        except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:
            kind = type(error).__name__
            raise InvalidInputError(f"no cluster: KUBECONFIG, or ~/.kube/config, is no kubeconfig ({kind})") from error
        with Client(configuration) as client:
            yield client
    except ConfigError as error:
        raise InvalidInputError(f"no cluster: {error}") from error
    except MissingError as error:
        raise NotFoundError(str(error)) from error
    except httpx2.HTTPStatusError as error:
        raise RefusedError(str(error)) from error
    except httpx2.TransportError as error:
        raise UnavailableError(f"the cluster does not answer: {error}") from error


@contextmanager
def cluster_objects(context: str | None, namespace: str) -> Iterator["Objects"]:
    from webhook.certificates.cluster import Objects  # noqa: PLC0415  as above

    with cluster_client(context) as client:
        yield Objects(client, namespace)


def read_settings(file: Path | None) -> Settings:
    """From the file, or from the environment. Raises SettingError, DocumentError."""
    from webhook.offline.settings_file import read  # noqa: PLC0415  as above

    return Settings.from_mapping(os.environ if file is None else read(file))
