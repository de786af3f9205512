"""Run the containers of a pod as local processes: a kubelet's work, without root, images and namespaces.

Volumes are directories. A process sees no mounts, so that every mount path in its command, arguments and environment is
replaced by the directory that stands for it. Security contexts, resources and probes have no effect here.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from testbed.processes import Process, running

Container = Mapping[str, Any]
LABEL_PATH: Final = re.compile(r"metadata\.labels\['([^']+)'\]")


class PodError(RuntimeError):
    """A pod that could not be run: an unsupported kind of volume, or a container that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPod:
    """A pod, the directory of its volumes, and the Secrets of its namespace (name to key to value)."""

    pod: Mapping[str, Any]
    directory: Path
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        name: str = self.pod["metadata"]["name"]
        return name

    def create_volumes(self) -> None:
        """Make a directory for each volume and fill those of Secrets."""
        for volume in self.pod["spec"].get("volumes") or []:
            directory = self._volume(volume["name"])
            directory.mkdir(parents=True, exist_ok=True)
            if secret := volume.get("secret"):
                self._write_secret(directory, secret)
            elif "emptyDir" not in volume:
                raise PodError(f"volume {volume['name']} is neither an emptyDir nor a Secret: {sorted(volume)}")

    def run_init_containers(self, *, environ: Mapping[str, str]) -> dict[str, str]:
        """Run the init containers in order, and return the output of each. Raises PodError if one fails."""
        return {
            container["name"]: self._run_to_end(container, environ)
            for container in self.pod["spec"].get("initContainers") or []
        }

    @contextmanager
    def running_container(
        self, name: str, command: Sequence[str], *, environ: Mapping[str, str], imported: Sequence[str] = ()
    ) -> Iterator[Process]:
        """Run a regular container, with `command` instead of its image's, for the length of a `with` block."""
        environment = self.environment(self.container(name), environ)
        with running(command, log=self.directory / f"{name}.log", env=environment, imported=imported) as process:
            yield process

    def container(self, name: str) -> Container:
        containers = [*(self.pod["spec"].get("initContainers") or []), *self.pod["spec"]["containers"]]
        return next(container for container in containers if container["name"] == name)

    def environment(self, container: Container, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the process's environment: `environ`, then the container's variables with local paths."""
        own = {entry["name"]: self._value(entry) for entry in container.get("env") or []}
        return dict(environ) | {name: self.local(container, value) for name, value in own.items() if value is not None}

    def local(self, container: Container, text: str) -> str:
        """Return `text` with the container's mount paths replaced by their directories, the longest first."""
        directories = {
            mount["mountPath"]: str(self.directory_of(mount)) for mount in container.get("volumeMounts") or []
        }
        if not directories:
            return text
        paths = "|".join(re.escape(path) for path in sorted(directories, key=len, reverse=True))
        # In one pass: the directories may well lie below a path that is mounted too, such as /tmp.
        return re.sub(rf"(?<![\w/.-])(?:{paths})(?=/|$)", lambda found: directories[found[0]], text)

    def directory_of(self, mount: Mapping[str, Any]) -> Path:
        """Return the local directory of a volumeMount."""
        return self._volume(mount["name"]) / str(mount.get("subPath", ""))

    def _run_to_end(self, container: Container, environ: Mapping[str, str]) -> str:
        command = [
            self.local(container, part.replace("$$", "$"))
            for part in [*container["command"], *container.get("args", [])]
        ]
        environment = self.environment(container, environ)
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            raise PodError(f"init container {container['name']} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _value(self, entry: Mapping[str, Any]) -> str | None:
        if "valueFrom" not in entry:
            return str(entry.get("value", ""))
        if of_the_pod := entry["valueFrom"].get("fieldRef"):
            return self._label(of_the_pod["fieldPath"])
        reference = entry["valueFrom"]["secretKeyRef"]
        value = self.secrets.get(reference["name"], {}).get(reference["key"])
        if value is None and not reference.get("optional"):
            raise PodError(
                f"variable {entry['name']} refers to a missing key {reference['key']} of Secret {reference['name']}"
            )
        return value

    def _label(self, path: str) -> str:
        """Return a label of the pod, the only field that is supported here; empty if the pod does not have it."""
        if not (named := LABEL_PATH.fullmatch(path)):
            raise PodError(f"field {path} is not known here")
        return str((self.pod["metadata"].get("labels") or {}).get(named[1], ""))

    def _write_secret(self, directory: Path, secret: Mapping[str, Any]) -> None:
        content = self.secrets.get(secret["secretName"])
        if content is None:
            raise PodError(f"there is no Secret {secret['secretName']}")
        for item in secret.get("items") or [{"key": key, "path": key} for key in content]:
            if item["key"] not in content:
                raise PodError(f"references non-existent secret key: {item['key']}")
            file = directory / item["path"]
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as output:
                output.write(content[item["key"]])

    def _volume(self, name: str) -> Path:
        return self.directory / "volumes" / name
