"""Certificates of an authority made for a test."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files: a certificate, its key, and the authority that a client must trust."""

    certificate: Path
    key: Path
    authority: Path


def issue(directory: Path, host: str, *, authority: trustme.CA | None = None) -> Certificates:
    """Write a certificate for `host` into `directory`, which is made; without `authority`, of a new authority."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = authority or trustme.CA()
    leaf = authority.issue_cert(host)
    files = Certificates(certificate=directory / "tls.crt", key=directory / "tls.key", authority=directory / "ca.crt")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    files.key.write_bytes(leaf.private_key_pem.bytes())
    authority.cert_pem.write_to_path(files.authority)
    return files
