"""Identities in the cluster: one authority, and for each component a certificate and a kubeconfig with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SERVICE_ADDRESS: Final = "10.96.0.1"  # the first one of the range of Services is the API server's

AGGREGATOR: Final = "front-proxy-client"  # the API server, when it calls an API server that extends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user of the API server, as its certificate names it."""

    file: str
    name: str
    group: str | None = None


USERS: Final = (
    Identity(file="admin", name="admin", group="system:masters"),
    Identity(file="controller-manager", name="system:kube-controller-manager"),
    Identity(file="scheduler", name="system:kube-scheduler"),
    Identity(file="kubelet", name="system:node:node", group="system:nodes"),
)


def write(folder: Path, address: str, port: int = 6443) -> None:
    """Write certificates, keys, and kubeconfigs of the API server at this address into `folder`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    names = (
        "localhost",
        "127.0.0.1",
        address,
        SERVICE_ADDRESS,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    )
    _write_pair(authority.issue_cert(*names, common_name="kube-apiserver"), folder, "apiserver")
    for user in USERS:
        leaf = authority.issue_cert("node", address, common_name=user.name, organization_name=user.group)
        _write_pair(leaf, folder, user.file)
        (folder / f"{user.file}.kubeconfig").write_text(yaml.safe_dump(_kubeconfig(folder, user, f"{address}:{port}")))
    _write_pair(authority.issue_cert(AGGREGATOR, common_name=AGGREGATOR), folder, AGGREGATOR)
    write_signing_key(folder)


def _write_pair(leaf: trustme.LeafCert, folder: Path, name: str) -> None:
    leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
    leaf.private_key_pem.write_to_path(folder / f"{name}.key")


def write_signing_key(folder: Path) -> None:
    """Write the key with which the API server signs the tokens of ServiceAccounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "service-accounts.key").write_bytes(private)
    (folder / "service-accounts.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


def _kubeconfig(folder: Path, user: Identity, address: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": f"https://{address}", "certificate-authority": str(folder / "ca.crt")},
            }
        ],
        "users": [
            {
                "name": "u",
                "user": {
                    "client-certificate": str(folder / f"{user.file}.crt"),
                    "client-key": str(folder / f"{user.file}.key"),
                },
            }
        ],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
