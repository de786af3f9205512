"""Addresses in object stores, as MLflow keeps them for artifacts that it does not serve.

`s3://bucket/path`, `gs://bucket/path`, `abfss://container@account.dfs.core.windows.net/path`, and `wasbs://` with a
`blob` host. A setting allows some of them, by comma: an entry covers its own path and each one below it.
"""

import re
from dataclasses import dataclass
from typing import Final

EXAMPLE: Final = "s3://models,abfss://models@acme.dfs.core.windows.net/mlflow"
BUCKET: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]"
ACCOUNT: Final = r"[a-z0-9]{3,24}"
SERVICE: Final = r"(?:privatelink\.)?(?:blob|dfs)"  # of Azure, through a private endpoint too
ADDRESS: Final = re.compile(
    rf"(?:(?P<scheme>s3|gs)://(?P<bucket>{BUCKET})"
    rf"|(?P<azure>abfss|wasbs)://(?P<container>{BUCKET})@(?P<account>{ACCOUNT})\.(?P<suffix>{SERVICE}(?:\.[a-z0-9-]+)+))"
    r"(?:/(?P<path>[^?#]*))?"
)
SCHEME: Final = re.compile(r"(?:s3|gs|abfss|wasbs):")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """A place in an object store. `account` and `suffix` are the parts of the host that an address of Azure has."""

    scheme: str
    bucket: str
    path: str
    account: str = ""
    suffix: str = ""

    @property
    def blob_host(self) -> str:
        """The host of Azure's blob service, which serves the files of a `dfs` address too."""
        return f"{self.account}.{self.suffix.replace('dfs.', 'blob.', 1)}"

    def covers(self, other: "StoreAddress") -> bool:
        """Return True if the other address is this one, or lies below it."""
        same = (self.scheme, self.bucket, self.account, self.suffix) == (
            other.scheme,
            other.bucket,
            other.account,
            other.suffix,
        )
        return same and f"{other.path}/".startswith(f"{self.path}/" if self.path else "")

    def __str__(self) -> str:
        host = f"@{self.account}.{self.suffix}" if self.account else ""
        return f"{self.scheme}://{self.bucket}{host}/{self.path}".rstrip("/")


def is_store_address(uri: str) -> bool:
    """Return True if the URI has the scheme of an object store."""
    return SCHEME.match(uri) is not None


def parse_store_address(text: str) -> StoreAddress:
    """Return the address. Raises ValueError with the form that it must have."""
    found = ADDRESS.fullmatch(text)
    path = (found["path"] or "").removesuffix("/") if found else ""
    if not found or any(part in {"", ".", ".."} for part in path.split("/") if path):
        raise ValueError(f'it must be addresses of object stores, such as "{EXAMPLE}"')
    return StoreAddress(
        scheme=found["scheme"] or found["azure"],
        bucket=found["bucket"] or found["container"],
        path=path,
        account=found["account"] or "",
        suffix=found["suffix"] or "",
    )


def parse_store_addresses(text: str) -> tuple[StoreAddress, ...]:
    """Return the addresses of a list by comma. Raises ValueError with the form that it must have."""
    return tuple(parse_store_address(entry.strip()) for entry in text.split(",") if entry.strip())
