"""The options for the address of MLflow and for the caller's credentials."""

import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Final, Self

import click

from model_contract.tracking_credentials import Credential
from model_lifecycle.commands.cli_errors import cli_errors
from model_lifecycle.commands.options import TOKEN_FILE_OPTION, TRACKING_URI_OPTION
from model_lifecycle.job_tokens import GitHubTokens
from model_lifecycle.presigned_files import Hosts, presigned_hosts
from model_lifecycle.registry import Registry
from model_lifecycle.tracking import Credentials, Tracking, tls_of, tracking_uri

COMMIT_HEADER: Final = "X-Gate-Commit"  # goes into the gate's audit log


@dataclass(kw_only=True)
class Connections:
    """A registry for each project, with that project's credentials; used within `with`. Raises LifecycleError."""

    uri: str
    credentials: Credentials
    timeout: float
    tries: int
    tls: ssl.SSLContext | bool = True
    presigned: Hosts = field(default_factory=Hosts)
    headers: dict[str, str] = field(default_factory=dict)

    def name_commit(self, commit: str | None) -> None:
        """Send the commit with each request, for the gate's audit log. Call it before a registry is made."""
        if commit:
            self.headers[COMMIT_HEADER] = commit

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._registries: dict[str | None, Registry] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def of_project(self, project_id: str) -> Registry:
        return self._registry(project_id, self.credentials.of_project(project_id))

    def for_any_project(self) -> Registry:
        return self._registry(None, self.credentials.for_any_project())

    def tracking(self, credential: Credential | None) -> Tracking:
        return Tracking(
            uri=self.uri,
            authorization=credential,
            tls=self.tls,
            timeout=self.timeout,
            tries=self.tries,
            presigned=self.presigned,
        )

    def _registry(self, key: str | None, credential: Credential | None) -> Registry:
        if key not in self._registries:
            self._registries[key] = self._open.enter_context(Registry(self.tracking(credential), self.headers))
        return self._registries[key]


def tracking_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add these options. The command gets `connections` instead of them."""

    @TRACKING_URI_OPTION
    @TOKEN_FILE_OPTION
    @click.option(
        "--oidc-audience",
        "audience",
        metavar="AUDIENCE",
        help="In a GitHub job with id-token: write, the audience of the job's own token, which is used instead.",
    )
    @click.option(
        "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds for one request."
    )
    @click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=3,
        show_default=True,
        help="Further tries of a request that only reads.",
    )
    @wraps(command)
    def with_connections(
        *, uri: str | None, token_file: Path | None, audience: str | None, timeout: float, retries: int, **options: Any
    ) -> None:
        with cli_errors(options.get("form", "text")):
            if audience and token_file:
                raise click.UsageError("either --token-file or --oidc-audience")
            of_job = GitHubTokens.of_job(os.environ, audience).credential() if audience else None
            credentials = Credentials(environ=os.environ, uri=uri, token_file=token_file, of_job=of_job)
            address = tracking_uri(uri, os.environ)
            with Connections(
                uri=address,
                credentials=credentials,
                tls=tls_of(address, os.environ),
                timeout=timeout,
                tries=retries + 1,
                presigned=presigned_hosts(os.environ),
            ) as connections:
                command(connections=connections, **options)

    return with_connections
