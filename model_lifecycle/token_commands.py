"""`model-api token`: makes, replaces, ends, lists and checks the service tokens of projects."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from model_contract.names import COMPUTE_NAMESPACE, MLFLOW_NAMESPACE, TRACKING_TOKEN
from model_contract.secret import Secret
from model_contract.tokens import Purpose, Token
from model_lifecycle import delivery, token_store
from model_lifecycle.cluster import (
    ClusterError,
    ConfigurationError,
    NotAuthorisedError,
    TokenSecret,
    client_of,
    copy_pull_tokens,
)
from model_lifecycle.delivery import DeliveryError
from model_lifecycle.ends import InvalidInputError, PartialError, RefusedError, StateError, UnavailableError
from model_lifecycle.options import project_id
from model_lifecycle.token_store import Listed, Made, Order, TokenStoreError

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


NEVER: Final = "never"
TTL_OF_NEW: Final = "90d"


def lifetime(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """Return a duration, or ENDLESS for `never`."""
    return token_store.ENDLESS if value == NEVER else duration(context, parameter, value)


def duration(_: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """`90d`, `24h`, `30m`."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", value)
    if not found:
        raise click.BadParameter(f"{value!r:.40} is no duration, such as 90d, 24h or 30m", param=parameter)
    return timedelta(**{UNITS[found[2]]: int(found[1])})


PROJECT = click.option(
    "-i", "--domino-project-id", "project", required=True, callback=project_id, help="The project's id."
)
NAME = click.option("-n", "--domino-project-name", "name", help="Its name, for the list.")
OWNER = click.option("-o", "--domino-project-owner", "owner", help="Its owner, for the list.")
NAMESPACE = click.option(
    "--namespace", default=MLFLOW_NAMESPACE, show_default=True, help="Where the Secret of all projects is."
)
SECRET = click.option(
    "--secret-name", help="Its name; without it, mlflow-proxy-secret, or mlflow-model-secret where only that is there."
)
CONTEXT = click.option("--context", help="Context of the kubeconfig; without it, the current one.")
SCOPE = click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([purpose.value for purpose in Purpose]),
    help="Only this token; without it, both.",
)
TTL = click.option(
    "--ttl",
    callback=lifetime,
    default=TTL_OF_NEW,
    show_default=True,
    help=f"How long the token is good, or {NEVER}: until it is revoked.",
)
TTL_AS_BEFORE = click.option(
    "--ttl",
    callback=lifetime,
    help=f"How long the new token is good, such as 90d, or {NEVER}; without it, as long as the former was made for.",
)
OUT = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for the promote token, which only its owner reads.",
)
GITHUB = click.option(
    "--github",
    metavar="OWNER/REPO[:ENVIRONMENT]",
    help="Repository whose secret PROJECT_ID_<ID> gets the promote token.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the promote token goes."""

    out: Path | None
    github: str | None

    def check(self, purposes: Sequence[Purpose]) -> None:
        if Purpose.PROMOTE in purposes and not (self.out or self.github):
            raise click.UsageError(
                "say where the promote token goes: --out FILE or --github OWNER/REPO; it is never printed"
            )
        if Purpose.PROMOTE not in purposes and (self.out or self.github):
            raise click.UsageError(
                "--out and --github are for the promote token; `model-api token sync` brings the pull token to its pods"
            )


@click.group()
def token() -> None:
    """Service tokens: one for pods, which reads, and one for CI, which promotes."""


@token.command()
@PROJECT
@NAME
@OWNER
@SCOPE
@TTL
@OUT
@GITHUB
@NAMESPACE
@SECRET
@CONTEXT
def create(  # noqa: PLR0913, PLR0917  click hands over each option
    project: str,
    name: str | None,
    owner: str | None,
    scopes: Sequence[str],
    ttl: timedelta | None,
    out: Path | None,
    github: str | None,
    namespace: str,
    secret_name: str | None,
    context: str | None,
) -> None:
    """Make a project's tokens. Exits with 6 where it has them."""
    order = Order(project_id=project, purposes=purposes_of(scopes), ttl=ttl, name=name, owner=owner)
    with token_secret(context, namespace, secret_name) as secret:
        make(secret, Target(out=out, github=github), order, lambda data: token_store.create(data, order, now()))


@token.command()
@PROJECT
@NAME
@OWNER
@SCOPE
@TTL_AS_BEFORE
@click.option(
    "--grace", callback=duration, default="24h", show_default=True, help="How long the former token is still good."
)
@OUT
@GITHUB
@NAMESPACE
@SECRET
@CONTEXT
def rotate(  # noqa: PLR0913, PLR0917  as above
    project: str,
    name: str | None,
    owner: str | None,
    scopes: Sequence[str],
    ttl: timedelta | None,
    grace: timedelta,
    out: Path | None,
    github: str | None,
    namespace: str,
    secret_name: str | None,
    context: str | None,
) -> None:
    """Replace a project's tokens; the former ones stay good for a while. Exits with 6 where there are none."""
    order = Order(project_id=project, purposes=purposes_of(scopes), ttl=ttl, name=name, owner=owner)
    with token_secret(context, namespace, secret_name) as secret:
        make(secret, Target(out=out, github=github), order, lambda data: token_store.rotate(data, order, now(), grace))


@token.command()
@PROJECT
@SCOPE
@NAMESPACE
@SECRET
@CONTEXT
def revoke(project: str, scopes: Sequence[str], namespace: str, secret_name: str | None, context: str | None) -> None:
    """End a project's tokens, the former ones too; the gate knows within about a minute."""
    with token_secret(context, namespace, secret_name) as secret:
        secret.change(lambda data: token_store.revoke(data, project, purposes_of(scopes)))
        click.echo(f"{secret.title}: the tokens of project {project} are revoked")


@token.command("list")
@NAMESPACE
@SECRET
@CONTEXT
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_(namespace: str, secret_name: str | None, context: str | None, form: str) -> None:
    """Print every token by its fingerprint, with those that have another format."""
    with token_secret(context, namespace, secret_name) as secret:
        found = token_store.listed(secret.read())
    if form == "json":
        click.echo(json.dumps([row(one) for one in found], indent=2))
        return
    for one in found:
        click.echo("  ".join(str(value) for value in row(one).values() if value is not None))
    if not found:
        click.echo("there are no tokens")


@token.command()
@click.option(
    "--token-file", type=click.Path(dir_okay=False, path_type=Path), help=f"The token; without it, {TRACKING_TOKEN}."
)
@NAMESPACE
@SECRET
@CONTEXT
def verify(token_file: Path | None, namespace: str, secret_name: str | None, context: str | None) -> None:
    """Say which token of the Secret this is. Exits with 4 where it is none, or has ended."""
    value = given_token(token_file)
    with token_secret(context, namespace, secret_name) as secret:
        found = token_store.find(secret.read(), value.reveal())
    if found is None:
        raise RefusedError("this token is not in the Secret")
    if found.expires and datetime.fromisoformat(found.expires) <= now():
        raise RefusedError(f"{found.key} has ended at {found.expires}")
    click.echo("  ".join(str(value) for value in row(found).values() if value is not None))


@token.command()
@click.option("--to", "compute", default=COMPUTE_NAMESPACE, show_default=True, help="Namespace of the model APIs.")
@click.option("--prune", is_flag=True, help="Remove copies of projects that have no pull token any more.")
@NAMESPACE
@SECRET
@CONTEXT
def sync(compute: str, prune: bool, namespace: str, secret_name: str | None, context: str | None) -> None:
    """Copy each project's pull token, and nothing else, to the Secret that its pods mount."""
    with cluster_errors(), client_of(context) as client:
        tokens = token_store.pull_tokens(TokenSecret(client, namespace, secret_name).read())
        for name, what in copy_pull_tokens(client, compute, tokens, prune=prune).items():
            click.echo(f"{compute}/{name}: {what}")


def make(secret: TokenSecret, target: Target, order: Order, plan: Callable[[token_store.Data], Made]) -> None:
    """Reserves the place before there is a token, so that none is made that cannot be delivered."""
    target.check(order.purposes)
    gh = delivery.require_gh() if target.github else ""
    plan(secret.read())
    file = reserve(target.out) if target.out else None
    made: list[Made] = []

    def change(data: token_store.Data) -> token_store.Patch:
        made[:] = [plan(data)]
        return made[0].patch

    try:
        secret.change(change)
    except BaseException:
        if target.out:
            target.out.unlink(missing_ok=True)
        raise
    ends = {
        one.fingerprint: ending(one)
        for one in token_store.listed({key: value for key, value in made[0].patch.items() if value})
    }
    for one in made[0].tokens:
        click.echo(f"{secret.title}: {token_store.key_of(one)}  {one.fingerprint}  {ends[one.fingerprint]}")
        if one.purpose is Purpose.PROMOTE:
            deliver(one, target, file, gh)


def reserve(path: Path) -> int:
    try:
        return delivery.reserve(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be made: {error.strerror}") from error


def deliver(made: Token, target: Target, file: int | None, gh: str) -> None:
    if file is not None:
        delivery.write(file, made)
        click.echo(f"  written to {target.out}")
    if target.github:
        repository, _, environment = target.github.partition(":")
        name = delivery.to_github(gh, made, repository, environment or None)
        click.echo(f"  {name} of {target.github} is set")


def given_token(file: Path | None) -> Secret:
    try:
        value = Secret.from_file(file) if file else Secret(os.environ.get(TRACKING_TOKEN, "").strip())
    except (OSError, ValueError) as error:
        raise InvalidInputError(str(error)) from error
    if not value.reveal():
        raise InvalidInputError(f"name the token with --token-file, or set {TRACKING_TOKEN}")
    return value


@contextmanager
def token_secret(context: str | None, namespace: str, name: str | None) -> Iterator[TokenSecret]:
    with cluster_errors(), client_of(context) as client:
        yield TokenSecret(client, namespace, name)


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Ends the command with the sentence of an error."""
    try:
        yield
    except NotAuthorisedError as error:
        raise RefusedError(str(error)) from error
    except ConfigurationError as error:
        raise InvalidInputError(str(error)) from error
    except ClusterError as error:
        raise UnavailableError(str(error)) from error
    except TokenStoreError as error:
        raise StateError(str(error)) from error
    except DeliveryError as error:
        raise PartialError(str(error)) from error


def purposes_of(scopes: Sequence[str]) -> tuple[Purpose, ...]:
    return tuple(purpose for purpose in Purpose if not scopes or purpose.value in scopes)


def row(one: Listed) -> dict[str, str | None]:
    return {
        "key": str(one.key),
        "fingerprint": one.fingerprint,
        "format": "legacy, to be replaced" if one.legacy else None,
        "name": one.name,
        "owner": one.owner,
        "created": f"since {one.created}" if one.created else None,
        "expires": ending(one),
    }


def ending(one: Listed) -> str:
    return f"until {one.expires}" if one.expires else "without an end"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
