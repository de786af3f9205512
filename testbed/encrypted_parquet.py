"""Encryption of Parquet files, with keys that every reader may have."""

import base64
from typing import Any

from pyarrow.parquet import encryption


class PlainKeys(encryption.KmsClient):  # type: ignore[misc]  # pyarrow has no types of it
    """A service of keys that hides nothing."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def encryption_of(column: str, *, plaintext_footer: bool) -> Any:
    """Return properties with which pyarrow encrypts this column, and the footer unless it is to be plain text."""
    configuration = encryption.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": [column]}, plaintext_footer=plaintext_footer
    )
    factory = encryption.CryptoFactory(lambda _: PlainKeys())
    return factory.file_encryption_properties(encryption.KmsConnectionConfig(), configuration)
