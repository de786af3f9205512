"""Certificates of an authority that is made for the occasion."""

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
    """Writes them into `directory`, which is made; each call makes an authority of its own unless it is given one."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = authority or trustme.CA()
    leaf = authority.issue_cert(host)
    files = Certificates(certificate=directory / "tls.crt", key=directory / "tls.key", authority=directory / "ca.crt")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    files.key.write_bytes(leaf.private_key_pem.bytes())
    authority.cert_pem.write_to_path(files.authority)
    return files
