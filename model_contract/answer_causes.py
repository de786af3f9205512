"""Causes of an unsuccessful HTTP answer: its sender, one sentence and one exit code for each."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from model_contract.exit_codes import ExitCode
from model_contract.names import PRESIGNED_HOSTS
from model_contract.network_causes import CERTIFICATE_NEEDED, Cause, Peer, proxy_refusal
from model_contract.temporary_status import is_temporary

SHOWN_MESSAGE: Final = 200  # characters of MLflow's message; nothing else of a body is shown: it may hold anything
SHOWN_HEADER: Final = 60
# The answer of `mlflow server` since 3.5 to a host that is not in its --allowed-hosts.
INVALID_HOST: Final = b"Invalid Host header"
# Servers of MLflow and of the gate, and the error page of Flask, MLflow's framework.
OWN_SERVERS: Final = re.compile(r"(?i)gunicorn|uvicorn|waitress|werkzeug|hypercorn|python/.* aiohttp")
OWN_TEXTS: Final = {b"Permission denied"}
OWN_PAGE: Final = re.compile(rb"(?i)<!doctype html>\s*<html lang=\"?en\"?>\s*<title>")
PAGE: Final = re.compile(rb"(?i)\s*(?:<!doctype html|<html|<\?xml|<!--)")
PLAIN_TO_TLS: Final = re.compile(
    rb"(?i)plain HTTP (?:request )?(?:was sent )?to (?:HTTPS|an? (?:SSL|TLS))|HTTP request to an HTTPS server"
)
# The answers of nginx, and of what is built on it, to a request without a client certificate or with an unknown one.
NO_CERTIFICATE: Final = re.compile(rb"No required SSL certificate was sent|The SSL certificate error")
PRESIGNED_ONLY: Final = (
    "MLflow gives its files by presigned URLs only (`mlflow server --artifacts-presigned-only`): name the hosts of its"
    f" object store in {PRESIGNED_HOSTS}"
)
MISSING: Final = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}


class Headers(Protocol):
    """Headers of any HTTP library. The case of a name does not matter."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An unsuccessful answer. `body` may be cut. `redacted` hides the credential that was sent."""

    status: int
    headers: Headers
    body: bytes
    redacted: Callable[[str], str] = str

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The body as MLflow's JSON object; None for any other body."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def error_code(self) -> str:
        """MLflow's error code; empty for other bodies."""
        return str((self.document or {}).get("error_code", ""))

    @property
    def is_presigned_only(self) -> bool:
        """True if the server gives its files by presigned URLs only: MLflow 3.18 with --artifacts-presigned-only."""
        is_refusal = self.status == HTTPStatus.FORBIDDEN
        return is_refusal and (self.document or {}).get("artifacts_presigned_only") is True


def answer_cause(answer: Answer, peer: Peer, *, credential: str | None, hint: str) -> Cause:
    """Return the cause of an unsuccessful answer.

    `credential` names what was sent ("the token of ..."), None if nothing was; `hint` says how to send one.
    """
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return proxy_refusal(answer.status, peer)
    if answer.status in range(300, 400):
        return _redirect(answer, peer)
    if answer.status == HTTPStatus.BAD_REQUEST and PLAIN_TO_TLS.search(answer.body):
        encrypted = peer.uri.replace("http:", "https:", 1)
        return Cause(
            sentence=f"the server at {peer.uri} speaks TLS; set {peer.setting} to {encrypted}",
            exit_code=ExitCode.INVALID_INPUT,
        )
    if answer.status == HTTPStatus.BAD_REQUEST and NO_CERTIFICATE.search(answer.body):
        return Cause(sentence=f"{peer}: {CERTIFICATE_NEEDED}", exit_code=ExitCode.NOT_AUTHORISED)
    if (sender := intermediary(answer)) and answer.status != HTTPStatus.TOO_MANY_REQUESTS:
        return _of_intermediary(answer, peer, sender)
    return _of_mlflow(answer, peer, credential=credential, hint=hint)


def intermediary(answer: Answer) -> str | None:
    """Return the mark of a proxy, an ingress or a portal that answered itself; None if MLflow or the gate may have.

    A body with MLflow's JSON, or a page of its web framework, is MLflow's answer.
    """
    if (answer.document is not None and (answer.error_code or "message" in answer.document)) or OWN_PAGE.match(
        answer.body
    ):
        return None
    if answer.body.strip() in OWN_TEXTS or (
        answer.status == HTTPStatus.UNAUTHORIZED and answer.headers.get("WWW-Authenticate")
    ):
        return None
    server = answer.headers.get("Server") or ""
    for name in ("X-Squid-Error", "Proxy-Authenticate", "Via"):
        if value := answer.headers.get(name):
            return f"{name}: {_plain(value, SHOWN_HEADER)}"
    if PAGE.match(answer.body) and not OWN_SERVERS.search(server):
        return f"Server: {_plain(server, SHOWN_HEADER)}" if server else "an HTML page"
    return None


def is_html_page(headers: Headers, body: bytes) -> bool:
    """Return True for a page in HTML, as a login or a captive portal sends it."""
    kind = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    return kind in {"text/html", "application/xhtml+xml"} or bool(PAGE.match(body))


def not_json_message(headers: Headers, body: bytes, peer: Peer) -> str:
    """Return the message for a successful answer that is not MLflow's."""
    page = "an HTML page came, as a login or a captive portal sends it: " if is_html_page(headers, body) else ""
    return f"{page}the answer is not a JSON object; check that MLflow itself is at {peer.uri}"


def mlflow_message(answer: Answer) -> str:
    """Return MLflow's error code and the start of its message, on one line; empty if the body is not MLflow's."""
    document = answer.document or {}
    found = [document.get(key) for key in ("error_code", "message")]
    text = ": ".join(str(part) for part in found if isinstance(part, str | int) and part != "")
    return _plain(answer.redacted(text), SHOWN_MESSAGE)


def _of_mlflow(answer: Answer, peer: Peer, *, credential: str | None, hint: str) -> Cause:
    reason = mlflow_message(answer)
    said = f"MLflow answers {answer.status}" + (f" {reason}" if reason else "")
    if answer.status == HTTPStatus.FORBIDDEN and answer.body.startswith(INVALID_HOST):
        name_it = f"it does not serve the host of {peer.setting}; name it in `mlflow server --allowed-hosts`"
        return Cause(sentence=f"{said}: {name_it}", exit_code=ExitCode.INVALID_INPUT)
    if answer.is_presigned_only:
        return Cause(sentence=PRESIGNED_ONLY, exit_code=ExitCode.INVALID_INPUT)
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Cause(sentence=f"{said}; {_denial(answer, credential, hint)}", exit_code=ExitCode.NOT_AUTHORISED)
    if answer.status == HTTPStatus.NOT_FOUND or answer.error_code in MISSING:
        where = "" if answer.error_code else f"; check that MLflow itself is at {peer.uri}"
        return Cause(sentence=f"{said}{where}", exit_code=ExitCode.NOT_FOUND)
    if answer.status == HTTPStatus.CONFLICT:
        return Cause(sentence=said, exit_code=ExitCode.PRECONDITION)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Cause(sentence=f"{said}: the request is larger than the server takes", exit_code=ExitCode.INVALID_INPUT)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Cause(
            sentence=f"{said}: too many requests at the moment", exit_code=ExitCode.UNAVAILABLE, temporary=True
        )
    if is_temporary(answer.status):
        where = "" if reason or answer.status != HTTPStatus.INTERNAL_SERVER_ERROR else "; MLflow's log says why"
        return Cause(sentence=f"{said}{where}", exit_code=ExitCode.UNAVAILABLE, temporary=True)
    return Cause(sentence=said, exit_code=ExitCode.INVALID_INPUT)


def _denial(answer: Answer, credential: str | None, hint: str) -> str:
    if credential is None:
        return f"no token was sent, because {hint}"
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return f"{credential} is not accepted"
    return (
        f"{credential} is known, but may not do this. The model, its run and its experiment must all have the tag "
        "mlflow.domino.project_id with its project. An admin sets missing tags with `model-api backfill`"
    )


def _of_intermediary(answer: Answer, peer: Peer, sender: str) -> Cause:
    said = f"not MLflow but a proxy, an ingress or a portal before it answers {answer.status} ({sender})"
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            remedy = (
                f"it does not let this request through to {peer.uri}; ask who runs it, or name {peer.host} in NO_PROXY"
            )
            return Cause(sentence=f"{said}: {remedy}", exit_code=ExitCode.NOT_AUTHORISED)
        case HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED:
            return Cause(sentence=f"{said}: this network requires a login first", exit_code=ExitCode.NOT_AUTHORISED)
        case HTTPStatus.NOT_FOUND:
            return Cause(sentence=f"{said}; check that MLflow itself is at {peer.uri}", exit_code=ExitCode.NOT_FOUND)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Cause(sentence=f"{said}: the request is larger than it takes", exit_code=ExitCode.INVALID_INPUT)
        case status if is_temporary(status):
            return Cause(sentence=f"{said}: it does not reach MLflow", exit_code=ExitCode.UNAVAILABLE, temporary=True)
        case _:
            return Cause(
                sentence=f"{said}; check that MLflow itself is at {peer.uri}", exit_code=ExitCode.INVALID_INPUT
            )


def _redirect(answer: Answer, peer: Peer) -> Cause:
    """Return the cause of a redirect, which is not followed: the token would be sent to its target.

    Only the host of the target is shown: the rest may hold secrets.
    """
    try:
        host = urlsplit(answer.headers.get("Location") or "").hostname or ""
    except ValueError:
        host = ""
    to = f" to {_plain(host, SHOWN_HEADER)}" if host and host != peer.host else ""
    portal = ", as a login page or a captive portal sends it" if to else ""
    sentence = (
        f"MLflow answers {answer.status}, a redirect{to}, which is not followed with a token{portal}; "
        f"set {peer.setting} to the address of MLflow itself"
    )
    return Cause(sentence=sentence, exit_code=ExitCode.INVALID_INPUT)


def _plain(text: str, longest: int) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable[:longest] + ("..." if len(printable) > longest else "")
