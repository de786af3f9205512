"""The kubeconfig of a command, found and read as kubectl does: KUBECONFIG, which may name several > ~/.kube/config.

The standard library reads no YAML and has no client: the caller hands over both.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

KUBECONFIG: Final = "KUBECONFIG"
HOME_FILE: Final = Path(".kube") / "config"
PARTS: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}
FILES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
# A credential plugin is told the version of the protocol. lightkube does not tell it, and knows v1 by its older name.
PLUGIN_VERSION: Final = "client.authentication.k8s.io/v1"
PLUGIN_INFO: Final = "KUBERNETES_EXEC_INFO"
PLUGIN_EXTENSION: Final = "client.authentication.k8s.io/exec"  # settings of a cluster that a plugin may be told
ANONYMOUS: Final = "anonymous"  # the user of a context that names none, as with kubectl
CLUSTER_FIELDS: Final = ("server", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
# What no client here can do. To leave it out would reach another server, or act as another user, than kubectl.
REFUSED: Final = {
    "clusters": ("tls-server-name",),
    "users": ("as", "as-uid", "as-groups", "as-user-extra", "auth-provider"),
}

Json = Mapping[str, Any]
Configuration = TypeVar("Configuration")


class KubeconfigError(Exception):
    """No cluster can be reached with the kubeconfig; the message says what it lacks."""


class MalformedKubeconfigError(KubeconfigError):
    """A file is no kubeconfig."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a kubeconfig, with the file that holds it."""

    file: Path
    values: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """The entries of all files, by their list and their name."""

    current_context: str | None
    parts: Mapping[str, Mapping[str, Entry]]


def read_kubeconfig(
    environ: Mapping[str, str],
    context: str | None,
    *,
    parse: Callable[[str], Any],
    build: Callable[[dict[str, Any]], Configuration],
) -> Configuration | None:
    """Return what `build` makes of a kubeconfig with one context; None if nothing names a file, as in a pod.

    `context` is its name, None for the current one; `parse` reads YAML. Raises KubeconfigError.
    """
    if not (files := kubeconfig_files(environ)):
        return None
    try:
        entries = merged((file, parse(file.read_text())) for file in files)
        return build(selected(entries, context, files, environ))
    except KubeconfigError:
        raise
    except Exception as error:  # the libraries of `parse` and `build` have errors of their own for a strange content
        raise MalformedKubeconfigError(
            f"KUBECONFIG, or ~/.kube/config, is no kubeconfig ({type(error).__name__})"
        ) from error


def kubeconfig_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files that are to be read; none if nothing names one, as in a pod. Raises KubeconfigError."""
    if not (named := environ.get(KUBECONFIG)):
        file = Path(environ.get("HOME") or "/nonexistent") / HOME_FILE
        return [file] if file.is_file() else []
    files = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    if found := [file for file in files if file.is_file()]:
        return found
    raise KubeconfigError(f"Configuration file {named} not found")


def merged(files: Iterable[tuple[Path, Json | None]]) -> Entries:
    """Return the entries of the files' contents. Of two entries with one name the first counts.

    Raises AttributeError, LookupError or TypeError for a content that is no configuration.
    """
    current: str | None = None
    parts: dict[str, dict[str, Entry]] = {part: {} for part in PARTS}
    for file, content in files:
        if content is None:  # an empty file
            continue
        current = current or content.get("current-context")
        for part, key in PARTS.items():
            for entry in content.get(part) or ():
                parts[part].setdefault(entry["name"], Entry(file=file, values=entry.get(key) or {}))
    return Entries(current_context=current, parts=parts)


def selected(
    entries: Entries, context: str | None, files: Iterable[Path], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return a kubeconfig with one context, its cluster and its user, ready for a client. Raises KubeconfigError."""
    if not (name := context or entries.current_context):
        raise KubeconfigError(f"{_titles(files)} has no current-context; name one with --context")
    if not (found := entries.parts["contexts"].get(name)):
        raise KubeconfigError(f"{_titles(files)} has no context {name}")
    if not (cluster := found.values.get("cluster")):
        raise KubeconfigError(f"context {name} of {found.file} names no cluster")
    user = found.values.get("user")
    for part, wanted in (("clusters", cluster), ("users", user)):
        if wanted and wanted not in entries.parts[part]:
            raise KubeconfigError(f"context {name} of {found.file} names the {PARTS[part]} {wanted}, which no file has")
    server = _cluster(entries.parts["clusters"][cluster], cluster)
    credentials = _user(entries.parts["users"][user], user, server, environ) if user else {}
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": {**found.values, "user": user or ANONYMOUS}}],
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": user or ANONYMOUS, "user": credentials}],
    }


def proxy_of(kubeconfig: Json) -> str | None:
    """Return the address of the proxy before the cluster of a kubeconfig with one context; None without one."""
    return kubeconfig["clusters"][0]["cluster"].get("proxy-url") or None


def _cluster(entry: Entry, name: str) -> dict[str, Any]:
    values = _of_file(entry, "clusters", name)
    if not _is_server(values.get("server")):
        raise KubeconfigError(f"cluster {name} of {entry.file} has no server that is an address")
    if (proxy := values.get("proxy-url")) and not _is_server(proxy):
        raise KubeconfigError(f"the proxy-url of cluster {name} in {entry.file} is no http or https address")
    return values


def _user(entry: Entry, name: str, cluster: Json, environ: Mapping[str, str]) -> dict[str, Any]:
    values = _of_file(entry, "users", name)
    if plugin := values.get("exec"):
        values["exec"] = _plugin(entry.file.absolute().parent, plugin, cluster)
    certificate, key = (
        any(values.get(f"{kind}{form}") for form in ("", "-data")) for kind in ("client-certificate", "client-key")
    )
    if certificate is not key:
        raise KubeconfigError(f"user {name} of {entry.file} has a certificate without its key, or a key alone")
    return _with_certificate(values, environ)


def _titles(files: Iterable[Path]) -> str:
    return os.pathsep.join(map(str, files))


def _of_file(entry: Entry, part: str, name: str) -> dict[str, Any]:
    """Return the values of an entry with paths that no longer depend on its file. Raises KubeconfigError."""
    title, folder = f"{PARTS[part]} {name}", entry.file.absolute().parent
    if refused := [field for field in REFUSED[part] if entry.values.get(field)]:
        raise KubeconfigError(
            f"{title} of {entry.file} has {refused[0]}, which this command cannot do; name another context"
        )
    found = {field: folder / value for field, value in entry.values.items() if field in FILES and value}
    for field, path in found.items():
        if not path.is_file():
            raise KubeconfigError(f"the {field} of {title} in {entry.file} is {path}, which is no file")
    return {**entry.values, **{field: str(path) for field, path in found.items()}}


def _is_server(value: object) -> bool:
    try:
        parts = urlsplit(str(value))
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _plugin(folder: Path, plugin: Json, cluster: Json) -> dict[str, Any]:
    command, version = plugin["command"], plugin["apiVersion"]
    told = {"cluster": _told_of(cluster)} if plugin.get("provideClusterInfo") else {}
    info = {"kind": "ExecCredential", "apiVersion": version, "spec": {**told, "interactive": False}}
    return {
        **plugin,
        "command": str(folder / command) if "/" in command else command,
        "apiVersion": f"{PLUGIN_VERSION}beta1" if version == PLUGIN_VERSION else version,
        "env": [*(plugin.get("env") or ()), {"name": PLUGIN_INFO, "value": json.dumps(info)}],
    }


def _told_of(cluster: Json) -> Json:
    """Return the cluster as a credential plugin is told of it: Kubernetes' client.authentication.k8s.io/v1, Cluster."""
    told = {field: cluster[field] for field in CLUSTER_FIELDS if cluster.get(field)}
    if file := cluster.get("certificate-authority"):
        told["certificate-authority-data"] = base64.b64encode(Path(file).read_bytes()).decode()
    extensions = {one["name"]: one.get("extension") for one in cluster.get("extensions") or ()}
    if PLUGIN_EXTENSION in extensions:
        told["config"] = extensions[PLUGIN_EXTENSION]
    return told


def _with_certificate(user: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the user, with the certificate of its credential plugin instead of the plugin if it gives one.

    lightkube asks a plugin for tokens alone. It asks anew when one ends, so that a plugin with a token stays.
    """
    if not (plugin := user.get("exec")):
        return user
    status = _credential(plugin, environ)
    certificate, key, token = (status.get(name) for name in ("clientCertificateData", "clientKeyData", "token"))
    if certificate and key:
        data = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        return {**user, **data, "exec": None, **({"token": token} if token else {})}
    if not token:
        raise KubeconfigError(f"the credential plugin {plugin['command']} gives neither a token nor a certificate")
    return user


def _credential(plugin: Json, environ: Mapping[str, str]) -> Json:
    """Return the status of what the plugin prints. It may speak to the person on standard error, as with kubectl."""
    command = plugin["command"]
    if not shutil.which(command):
        raise KubeconfigError(f"the credential plugin {command} of the kubeconfig is not installed")
    variables = {**environ, **{entry["name"]: entry["value"] for entry in plugin["env"]}}
    arguments = [command, *(plugin.get("args") or ())]
    try:
        done = subprocess.run(arguments, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise KubeconfigError(f"the credential plugin {command} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise KubeconfigError(f"the credential plugin {command} ended with exit code {done.returncode}")
    try:
        status = json.loads(done.stdout)["status"]
        status.get("token")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise KubeconfigError(f"the credential plugin {command} printed no ExecCredential") from error
    found: Json = status
    return found


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
