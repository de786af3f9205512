"""Object stores that may be read directly (MODEL_API_OBJECT_STORES), and the directory with credentials for them.

The credentials are those of the cluster's admin. Without the directory, obstore takes them from the variables of the
store's own clients, or from the identity of the pod.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from model_contract.model_ref import shown
from model_contract.names import OBJECT_STORE_CREDENTIALS, OBJECT_STORES
from model_contract.secret import LARGEST_FILE, Secret
from model_contract.store_addresses import StoreAddress, parse_store_address, parse_store_addresses
from model_delivery.errors import InvalidInputError

# An experiment keeps the location that it had when it was made.
SERVE_THEM: Final = "start MLflow with --serve-artifacts, and log the model again in a new experiment"
VARIABLE: Final = re.compile(r"(?:AWS|GOOGLE|AZURE)_[A-Z0-9_]+")
PREFIXES: Final = {"s3": "AWS_", "gs": "GOOGLE_", "abfss": "AZURE_", "wasbs": "AZURE_"}
ENDPOINTS: Final = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "GOOGLE_BASE_URL",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreSettings:
    """The allowed addresses, without which none is read, and the variables of the stores' clients."""

    allowed: tuple[StoreAddress, ...] = ()
    credentials: Mapping[str, Secret] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ObjectStoreSettings":
        """Read the variables, and the files that they name. Raises InvalidInputError, without a value."""
        try:
            allowed = parse_store_addresses(environ.get(OBJECT_STORES, ""))
        except ValueError as error:
            raise InvalidInputError(f"{OBJECT_STORES}: {error}") from error
        directory = environ.get(OBJECT_STORE_CREDENTIALS) if allowed else None
        return cls(allowed=allowed, credentials=_read(Path(directory)) if directory else {}, environ=environ)

    def checked(self, uri: str) -> StoreAddress:
        """Return the address of a version's files. Raises InvalidInputError if it may not be read."""
        try:
            address = parse_store_address(uri)
        except ValueError:
            raise InvalidInputError(
                f"the artifacts lie at an address of {uri.partition(':')[0]}: that cannot be read: it must name a"
                " bucket and a path, without a user, a query and a fragment"
            ) from None
        if not any(entry.covers(address) for entry in self.allowed):
            raise InvalidInputError(
                f"the artifacts lie at {shown(str(address))}, which {OBJECT_STORES} does not allow; {SERVE_THEM},"
                " or let the admin allow the address"
            )
        return address

    def config(self, scheme: str) -> dict[str, str]:
        """Return the mounted variables of the store of this scheme, which win over those of the process."""
        return {name: value.reveal() for name, value in self.credentials.items() if name.startswith(PREFIXES[scheme])}

    def empty(self, scheme: str) -> list[str]:
        """Return the store's variables of the process that have no value: Amazon's own client takes none of them."""
        return [name for name, value in self.environ.items() if name.startswith(PREFIXES[scheme]) and not value]

    def endpoint(self, scheme: str) -> str | None:
        """Return the address of the store's server that the admin has named."""
        wanted = [name for name in ENDPOINTS if name.startswith(PREFIXES[scheme])]
        mounted = [self.credentials[name].reveal() for name in wanted if name in self.credentials]
        return next(iter([*mounted, *(self.environ[name] for name in wanted if self.environ.get(name))]), None)


def _read(directory: Path) -> dict[str, Secret]:
    """Return the content of each file that has one, by its name.

    The kubelet keeps names with two points beside those of a Secret.

    Raises InvalidInputError.
    """
    found: dict[str, Secret] = {}
    try:
        for path in sorted(directory.iterdir()):
            if path.name.startswith("."):
                continue
            if not VARIABLE.fullmatch(path.name):
                raise InvalidInputError(
                    f"{OBJECT_STORE_CREDENTIALS}: the directory holds {shown(path.name)}, which is no variable of a"
                    " store's client, such as AWS_ACCESS_KEY_ID"
                )
            with path.open("rb") as content:
                if value := content.read(LARGEST_FILE).decode("utf-8").strip():
                    found[path.name] = Secret(value)
    except UnicodeDecodeError:
        raise InvalidInputError(f"{OBJECT_STORE_CREDENTIALS}: a file of the directory is not UTF-8") from None
    except OSError as error:
        raise InvalidInputError(
            f"{OBJECT_STORE_CREDENTIALS} names a directory that cannot be read: {error.strerror}"
        ) from error
    return found
