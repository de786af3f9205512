"""A server of Azure's Blob storage on this machine: Azurite, an npm package, with its well-known account."""

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final

from obstore.store import AzureStore

from testbed.environments import CACHE
from testbed.processes import free_port, running

AZURITE: Final = "azurite@3.35.0"  # later ones need Node 22
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION: Final = "2023-11-03"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureServer:
    """A running server; its endpoint ends in the account's name."""

    endpoint: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {"AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ENDPOINT": self.endpoint}

    def container(self, name: str) -> AzureStore:
        """Create a container, and return it for uploads."""
        date = formatdate(usegmt=True)
        resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signed = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{VERSION}\n{resource}"
        mac = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
        headers = {"x-ms-date": date, "x-ms-version": VERSION, "Authorization": f"SharedKey {ACCOUNT}:{mac}"}
        uri = f"{self.endpoint}/{name}?restype=container"
        urllib.request.urlopen(urllib.request.Request(uri, method="PUT", headers=headers)).close()  # noqa: S310
        return AzureStore(
            name,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=self.endpoint,
            client_options={"allow_http": True},
        )


@contextmanager
def azure_server(directory: Path) -> Iterator[AzureServer]:
    """Run a server for the length of a `with` block. Raises CalledProcessError if npm cannot install it."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command: list[str | Path] = [_program(), "--location", directory, "--blobPort", str(port)]
    command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with running(command, log=directory / "azurite.log", env=os.environ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/{ACCOUNT}?comp=list", status=403)  # without a signature
        yield AzureServer(endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}")


def _program() -> Path:
    folder = CACHE / "npm" / AZURITE
    found = folder / "node_modules" / ".bin" / "azurite-blob"
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not on this machine; it installs Azurite")
        subprocess.run([npm, "install", "--silent", "--no-fund", "--no-audit", AZURITE], cwd=folder, check=True)
    return found
