"""The kubeconfig of a command, found and read as kubectl does: KUBECONFIG, which may name several > ~/.kube/config.

The standard library reads no YAML: the caller does.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

KUBECONFIG: Final = "KUBECONFIG"
HOME_FILE: Final = Path(".kube") / "config"
PARTS: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}
FILES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
# A credential plugin is told the version of the protocol. lightkube does not tell it, and knows v1 by its older name.
PLUGIN_VERSION: Final = "client.authentication.k8s.io/v1"
PLUGIN_INFO: Final = "KUBERNETES_EXEC_INFO"

Json = Mapping[str, Any]


def kubeconfig_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files that are to be read; none if nothing names one, as in a pod. Raises FileNotFoundError."""
    if not (named := environ.get(KUBECONFIG)):
        file = Path(environ.get("HOME") or "/nonexistent") / HOME_FILE
        return [file] if file.is_file() else []
    files = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    if found := [file for file in files if file.is_file()]:
        return found
    raise FileNotFoundError(f"Configuration file {named} not found")


def merged(files: Iterable[tuple[Path, Json | None]]) -> dict[str, Any]:
    """Return one configuration of the files' contents. Of two entries with one name the first counts.

    Raises AttributeError, LookupError or TypeError for a content that is no configuration.
    """
    found: dict[str, Any] = {"current-context": None}
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for path, content in files:
        if content is None:  # an empty file
            continue
        found["current-context"] = found["current-context"] or content.get("current-context")
        for part, key in PARTS.items():
            for entry in content.get(part) or ():
                parts[part].setdefault(entry["name"], {"name": entry["name"], key: _from(path, entry.get(key) or {})})
    return found | {part: list(entries.values()) for part, entries in parts.items()}


def _from(path: Path, values: Json) -> dict[str, Any]:
    """Return the values of an entry with paths that no longer depend on the file."""
    found = {name: str(path.absolute().parent / value) for name, value in values.items() if name in FILES and value}
    plugin = values.get("exec")
    return {**values, **found, **({"exec": _plugin(path, plugin)} if plugin else {})}


def _plugin(path: Path, plugin: Json) -> dict[str, Any]:
    command, version = plugin["command"], plugin["apiVersion"]
    info = {"kind": "ExecCredential", "apiVersion": version, "spec": {"interactive": False}}
    return {
        **plugin,
        "command": str(path.absolute().parent / command) if "/" in command else command,
        "apiVersion": f"{PLUGIN_VERSION}beta1" if version == PLUGIN_VERSION else version,
        "env": [*(plugin.get("env") or ()), {"name": PLUGIN_INFO, "value": json.dumps(info)}],
    }
