"""`model-api token`: create, replace, revoke, list and check the service tokens of projects."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from model_contract.names import COMPUTE_NAMESPACE, TRACKING_TOKEN
from model_contract.secret import Secret
from model_contract.tokens import Purpose, Token
from model_lifecycle.cluster import TokenSecret, client_of, copy_pull_tokens
from model_lifecycle.commands.token_options import (
    CONTEXT,
    GITHUB,
    NAME,
    NAMESPACE,
    OUT,
    OWNER,
    PROJECT,
    SCOPE,
    SECRET,
    TTL,
    TTL_AS_BEFORE,
    TokenDestination,
    duration,
)
from model_lifecycle.errors import InvalidError, NotAuthorisedError
from model_lifecycle.tokens import delivery
from model_lifecycle.tokens import store as token_store
from model_lifecycle.tokens.store import NewTokens, TokenEntry, TokenRequest


@click.group()
def token() -> None:
    """Service tokens: one for pods, which reads, and one for CI, which promotes."""


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `create` and `rotate` share. The command gets `secret`, `destination` and `request`."""

    @wraps(command)
    def with_request(  # noqa: PLR0913  click hands over each option
        *,
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
        **options: Any,
    ) -> None:
        request = TokenRequest(project_id=project, purposes=purposes_of(scopes), ttl=ttl, name=name, owner=owner)
        destination = TokenDestination(out=out, github=github)
        with token_secret(context, namespace, secret_name) as secret:
            command(secret=secret, destination=destination, request=request, **options)

    for option in (CONTEXT, SECRET, NAMESPACE, GITHUB, OUT, SCOPE, OWNER, NAME, PROJECT):
        with_request = option(with_request)
    return with_request


@token.command()
@request_options
@TTL
def create(*, secret: TokenSecret, destination: TokenDestination, request: TokenRequest) -> None:
    """Make a project's tokens. Exits with 6 if the project has tokens."""
    make_and_deliver(secret, destination, request, lambda data: token_store.create(data, request, now()))


@token.command()
@request_options
@TTL_AS_BEFORE
@click.option(
    "--grace", callback=duration, default="24h", show_default=True, help="How long the former token stays valid."
)
def rotate(*, secret: TokenSecret, destination: TokenDestination, request: TokenRequest, grace: timedelta) -> None:
    """Replace a project's tokens; the former ones stay valid for a while. Exits with 6 if there are none."""
    make_and_deliver(secret, destination, request, lambda data: token_store.rotate(data, request, now(), grace))


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
    """Say which token of the Secret this is. Exits with 4 if it is none, or has ended."""
    value = given_token(token_file)
    with token_secret(context, namespace, secret_name) as secret:
        found = token_store.find(secret.read(), value.reveal())
    if found is None:
        raise NotAuthorisedError("this token is not in the Secret")
    if (end := token_store.end_of(found.expires)) and end <= now():
        raise NotAuthorisedError(f"{found.key} has ended at {found.expires}")
    click.echo("  ".join(str(value) for value in row(found).values() if value is not None))


@token.command()
@click.option("--to", "compute", default=COMPUTE_NAMESPACE, show_default=True, help="Namespace of the model APIs.")
@click.option("--prune", is_flag=True, help="Remove copies of projects that have no pull token any more.")
@NAMESPACE
@SECRET
@CONTEXT
def sync(compute: str, prune: bool, namespace: str, secret_name: str | None, context: str | None) -> None:
    """Copy each project's pull token, and nothing else, to the Secret that its pods mount."""
    with client_of(context) as client:
        tokens = token_store.pull_tokens(TokenSecret(client, namespace, secret_name).read())
        for name, what in copy_pull_tokens(client, compute, tokens, prune=prune):
            click.echo(f"{compute}/{name}: {what}")


def make_and_deliver(
    secret: TokenSecret,
    destination: TokenDestination,
    request: TokenRequest,
    plan: Callable[[token_store.Data], NewTokens],
) -> None:
    """Write new tokens and deliver them.

    The file is opened first, so that no token is made that cannot be delivered.
    """
    destination.check(request.purposes)
    gh = delivery.require_gh() if destination.github else ""
    plan(secret.read())
    file = reserve(destination.out) if destination.out else None
    made: list[NewTokens] = []

    def change(data: token_store.Data) -> token_store.Patch:
        made[:] = [plan(data)]  # those of the last call count: after a conflict it is called again, with newer data
        return made[0].patch

    try:
        secret.change(change)
    except BaseException:
        if destination.out:
            destination.out.unlink(missing_ok=True)
        raise
    ends = {
        one.fingerprint: ending(one)
        for one in token_store.listed({key: value for key, value in made[0].patch.items() if value})
    }
    for one in made[0].tokens:
        click.echo(f"{secret.title}: {token_store.key_of(one)}  {one.fingerprint}  {ends[one.fingerprint]}")
        if one.purpose is Purpose.PROMOTE:
            deliver(one, destination, file, gh)


def reserve(path: Path) -> int:
    try:
        return delivery.reserve(path)
    except OSError as error:
        raise InvalidError(f"{path} cannot be made: {error.strerror}") from error


def deliver(made: Token, destination: TokenDestination, file: int | None, gh: str) -> None:
    if file is not None:
        delivery.write(file, made)
        click.echo(f"  written to {destination.out}")
    if destination.github:
        repository, _, environment = destination.github.partition(":")
        name = delivery.to_github(gh, made, repository, environment or None)
        click.echo(f"  {name} of {destination.github} is set")


def given_token(file: Path | None) -> Secret:
    try:
        value = Secret.from_file(file) if file else Secret(os.environ.get(TRACKING_TOKEN, "").strip())
    except OSError as error:
        raise InvalidError(f"--token-file names a file that cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidError(str(error)) from error
    if not value.reveal():
        raise InvalidError(f"name the token with --token-file, or set {TRACKING_TOKEN}")
    return value


@contextmanager
def token_secret(context: str | None, namespace: str, name: str | None) -> Iterator[TokenSecret]:
    with client_of(context) as client:
        yield TokenSecret(client, namespace, name)


def purposes_of(scopes: Sequence[str]) -> tuple[Purpose, ...]:
    return tuple(purpose for purpose in Purpose if not scopes or purpose.value in scopes)


def row(one: TokenEntry) -> dict[str, str | None]:
    return {
        "key": str(one.key),
        "fingerprint": one.fingerprint,
        "format": "legacy, to be replaced" if one.legacy else None,
        "name": one.name,
        "owner": one.owner,
        "created": f"since {one.created}" if one.created else None,
        "expires": ending(one),
    }


def ending(one: TokenEntry) -> str:
    return f"until {one.expires}" if one.expires else "without an end"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
