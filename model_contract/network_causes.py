"""Causes of a failed connection: one sentence and one exit code for each, the same for every HTTP library.

Libraries wrap the errors of sockets, TLS and DNS; the cause is the innermost error that is known here.
"""

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from model_contract.exit_codes import ExitCode
from model_contract.names import CA_FILE, CLIENT_CERT_PATH
from model_contract.protocol_probe import speaks_http, speaks_tls
from model_contract.temporary_status import is_temporary

DEEPEST: Final = 12  # errors, each the cause of the one before
NO_ROUTE: Final = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
NAME_UNKNOWN: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

NO_TLS: Final = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
}
OTHER_VERSION: Final = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "VERSION_TOO_LOW",
}
CERTIFICATE_WANTED: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "TLSV1_ALERT_UNKNOWN_CA",
}
NAME_IT: Final = f"name its file in {CLIENT_CERT_PATH}"
CERTIFICATE_NEEDED: Final = f"the server requires a client certificate that it knows; {NAME_IT}"
IF_CERTIFICATE_NEEDED: Final = f"if the server requires a client certificate, {NAME_IT}"
NAME_NOT_SERVED: Final = {"TLSV1_UNRECOGNIZED_NAME", "TLSV1_ALERT_UNRECOGNIZED_NAME"}
TUNNEL_REFUSED: Final = re.compile(r"(?:Tunnel connection failed: )?([1-5][0-9]{2})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server, as messages name it. `uri` has no user, password or query.

    `setting` is the variable or option with the server's address, `proxy_setting` that of the proxy.
    """

    name: str
    uri: str
    host: str
    port: int
    setting: str
    proxy: str | None = None
    proxy_setting: str = "HTTPS_PROXY"

    @property
    def encrypted(self) -> bool:
        """True if the server is reached over TLS."""
        return self.uri.startswith("https:")

    def __str__(self) -> str:
        return f"{self.name} at {self.uri}" + (f" through the proxy {self.proxy}" if self.proxy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A cause. `sentence` follows the name of the request.

    `temporary`: another try may succeed. `unclear`: `probed` may find a better cause.
    """

    sentence: str
    exit_code: ExitCode
    temporary: bool = False
    unclear: bool = False


def cause_of(error: BaseException, peer: Peer, *, connecting: bool = False) -> Cause:
    """Return the cause of an error of the network. `connecting`: the caller knows that no connection existed yet."""
    chain = list(_chain(error))
    connecting = connecting or any(_is_named(found, "ConnectError", "ConnectTimeout") for found in chain)
    for found in reversed(chain):
        if cause := _certificate(found, peer) or _tls(found, peer) or _proxy(found, peer) or _name(found, peer):
            return cause
    for found in reversed(chain):
        if cause := _connection(found, peer, connecting=connecting):
            return cause
    return Cause(sentence=f"{peer}: {_text_of(error)}", exit_code=ExitCode.UNAVAILABLE, temporary=True)


def probed(cause: Cause, peer: Peer) -> Cause:
    """Return `cause`, or a better one if a test connection shows that the server speaks the other protocol."""
    if not cause.unclear or peer.proxy:
        return cause
    if peer.encrypted:
        return _without_tls(peer) if speaks_http(peer.host, peer.port) else cause
    return _with_tls(peer) if speaks_tls(peer.host, peer.port) else cause


def proxy_refusal(status: int, peer: Peer) -> Cause:
    """Return the cause if the proxy itself answers, instead of connecting."""
    proxy = f"the proxy {peer.proxy} of {peer.proxy_setting}" if peer.proxy else f"the proxy of {peer.proxy_setting}"
    if status == http.client.PROXY_AUTHENTICATION_REQUIRED:
        wanted = f"write them into {peer.proxy_setting} before the host, as in user:password@proxy.example:3128"
        return Cause(
            sentence=f"{proxy} answers 407: it requires a user and a password; {wanted}",
            exit_code=ExitCode.NOT_AUTHORISED,
        )
    if status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
        allowed = f"ask its operator to allow {peer.host}:{peer.port}, or name {peer.host} in NO_PROXY to avoid it"
        return Cause(
            sentence=f"{proxy} answers {status}: it does not connect to {peer.host}; {allowed}",
            exit_code=ExitCode.NOT_AUTHORISED,
        )
    if is_temporary(status):
        return Cause(
            sentence=(
                f"{proxy} answers {status}: it cannot reach {peer.host}:{peer.port}; if that is an address inside the"
                f" cluster, name {peer.host} in NO_PROXY"
            ),
            exit_code=ExitCode.UNAVAILABLE,
            temporary=True,
        )
    return Cause(
        sentence=f"{proxy} answers {status} to CONNECT; check that it is an HTTP proxy",
        exit_code=ExitCode.INVALID_INPUT,
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(DEEPEST):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _certificate(error: BaseException, peer: Peer) -> Cause | None:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    fault = _certificate_fault(error.verify_code, error.verify_message, peer)
    return Cause(sentence=f"{peer}: {fault}", exit_code=ExitCode.INVALID_INPUT)


def _certificate_fault(code: int, said: str, peer: Peer) -> str:
    match code:  # values of X509_V_ERR_... in OpenSSL's x509_vfy.h
        case 62 | 64:
            return (
                f"the server's certificate is for another name than {peer.host}; set {peer.setting} to a name that the"
                " certificate has"
            )
        case 10:
            return (
                "the server's certificate has expired; it must be renewed there, unless the clock of this machine is"
                " wrong"
            )
        case 9:
            return "the server's certificate is not valid yet; compare the clocks of the server and of this machine"
        case 18:
            return (
                f"the server's certificate is signed by itself and not trusted; name its file in {CA_FILE} if it is the"
                " right server's"
            )
        case 2 | 19 | 20 | 21:
            return (
                f"the server's certificate is not trusted: its authority is unknown ({said}); name the CA's file"
                f" in {CA_FILE}. A proxy that reads TLS has an authority of its own"
            )
        case _:
            return f"the server's certificate is refused ({said}); it must be replaced there"


def _tls(error: BaseException, peer: Peer) -> Cause | None:
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLCertVerificationError):
        return None
    reason = error.reason or ""
    if reason in NO_TLS:
        return _without_tls(peer)
    if reason in OTHER_VERSION:
        fault = "both sides have no version of TLS in common; the server must offer TLS 1.2 or later"
        return Cause(sentence=f"{peer}: {fault} ({reason})", exit_code=ExitCode.INVALID_INPUT)
    if reason in CERTIFICATE_WANTED:
        return Cause(sentence=f"{peer}: {CERTIFICATE_NEEDED} ({reason})", exit_code=ExitCode.NOT_AUTHORISED)
    if reason in NAME_NOT_SERVED:
        fault = f"the server does not serve {peer.host} over TLS; set {peer.setting} to a name that it serves"
        return Cause(sentence=f"{peer}: {fault} ({reason})", exit_code=ExitCode.INVALID_INPUT)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        fault = f"{peer}: the connection was closed in the middle of TLS; {IF_CERTIFICATE_NEEDED}"
        return Cause(sentence=fault, exit_code=ExitCode.UNAVAILABLE, temporary=True, unclear=True)
    if "HANDSHAKE" in reason or "CIPHER" in reason:
        # TLS 1.2 has the same alert for a missing certificate and for two sides without a common cipher.
        fault = f"the two sides do not agree on TLS; {IF_CERTIFICATE_NEEDED}"
        return Cause(sentence=f"{peer}: {fault} ({reason})", exit_code=ExitCode.INVALID_INPUT)
    fault = reason or _text_of(error)
    return Cause(sentence=f"{peer}: TLS failed ({fault})", exit_code=ExitCode.UNAVAILABLE, temporary=True)


def _proxy(error: BaseException, peer: Peer) -> Cause | None:
    """Return the cause of a refused tunnel, which libraries report, with its status, only in an error's text."""
    tunnel = _is_named(error, "ProxyError") or (isinstance(error, OSError) and "Tunnel connection failed" in str(error))
    found = TUNNEL_REFUSED.match(str(error)) if tunnel else None
    return proxy_refusal(int(found[1]), peer) if found else None


def _name(error: BaseException, peer: Peer) -> Cause | None:
    if isinstance(error, UnicodeError):
        return Cause(
            sentence=f"{peer.setting}: {_resolved_host(peer)} is not a host name", exit_code=ExitCode.INVALID_INPUT
        )
    if not isinstance(error, socket.gaierror):
        return None
    setting = peer.proxy_setting if peer.proxy else peer.setting
    if error.errno in NAME_UNKNOWN:
        fault = f"DNS knows no host {_resolved_host(peer)}; check the name in {setting}"
        return Cause(sentence=f"{peer}: {fault} ({error.strerror})", exit_code=ExitCode.INVALID_INPUT, temporary=True)
    fault = f"DNS does not answer for {_resolved_host(peer)} at the moment; if that lasts, check the cluster's DNS"
    return Cause(sentence=f"{peer}: {fault} ({error.strerror})", exit_code=ExitCode.UNAVAILABLE, temporary=True)


def _resolved_host(peer: Peer) -> str:
    return peer.proxy.rpartition(":")[0] if peer.proxy else peer.host


def _connection(error: BaseException, peer: Peer, *, connecting: bool) -> Cause | None:
    if isinstance(error, ConnectionRefusedError):
        fault = (
            "Connection refused: nothing listens there, or a firewall or NetworkPolicy refuses it; check that it runs,"
            " and that the port is right"
        )
        return _unanswered(peer, fault)
    if isinstance(error, TimeoutError) or _is_named(
        error, "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"
    ):
        if not connecting:
            return _unanswered(peer, "the server sent nothing in time")
        fault = "no connection in time; a firewall or a NetworkPolicy may drop the packets"
        return _unanswered(peer, fault, unclear=peer.encrypted)
    if isinstance(error, http.client.IncompleteRead):
        return _unanswered(peer, "the connection was cut in the middle of the answer")
    if isinstance(error, http.client.RemoteDisconnected) or "disconnected without sending" in str(error):
        return _unanswered(peer, "the connection was closed without an answer", unclear=True)
    if isinstance(error, ConnectionError):
        return _unanswered(peer, "the connection was reset by the server, or on the way to it", unclear=True)
    if isinstance(error, OSError) and error.errno in NO_ROUTE:
        return _unanswered(peer, f"there is no route to {_resolved_host(peer)} ({error.strerror}); check the network")
    if isinstance(error, http.client.HTTPException) or _is_named(error, "RemoteProtocolError"):
        return _unanswered(peer, f"the answer is not HTTP ({_text_of(error)})", unclear=True)
    return None


def _unanswered(peer: Peer, fault: str, *, unclear: bool = False) -> Cause:
    sentence = f"{peer} does not answer: {fault}"
    return Cause(sentence=sentence, exit_code=ExitCode.UNAVAILABLE, temporary=True, unclear=unclear)


def _without_tls(peer: Peer) -> Cause:
    fault = (
        f"the server answers without TLS; set {peer.setting} to {peer.uri.replace('https:', 'http:', 1)}, or to the"
        " port that speaks https"
    )
    return Cause(sentence=f"{peer}: {fault}", exit_code=ExitCode.INVALID_INPUT)


def _with_tls(peer: Peer) -> Cause:
    fault = f"the server speaks TLS; set {peer.setting} to {peer.uri.replace('http:', 'https:', 1)}"
    return Cause(sentence=f"{peer}: {fault}", exit_code=ExitCode.INVALID_INPUT)


def _is_named(error: BaseException, *names: str) -> bool:
    return type(error).__name__ in names


def _text_of(error: BaseException) -> str:
    """Return the error's text in one short line of ASCII: a part of it may come from a server.

    It ends before a query: a server that echoes the request would bring a presigned URL's signature into the log.
    """
    text = str(error).partition("?")[0].encode("ascii", "backslashreplace").decode()
    return " ".join(text.split())[:100] or type(error).__name__
