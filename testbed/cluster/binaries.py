"""Kubernetes, etcd, containerd, CoreDNS, kube-router and cert-manager, compiled once from pinned Go modules.

That takes minutes.
"""

import hashlib
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed import environments
from testbed.go_programs import Release, compile_package, go, released_program

HERE: Final = Path(__file__).parent
CACHE: Final = environments.CACHE / "cluster"
# containerd 2 mounts images as volumes, which the one of Debian 12 does not.
CONTAINERD: Final = ("containerd", "containerd-shim-runc-v2", "ctr")
KUBERNETES: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
KUBE_ROUTER: Final = Release(
    module="github.com/cloudnativelabs/kube-router/v2",
    version="v2.1.0",
    digest="h1:xWsptKtmZ44L+NjwFKoFAFlVdxCz8fka9A/eYJe95Ok=",
)
VERSION: Final = re.compile(r"k8s\.io/kubernetes v(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to compile: a package of the Go module in a folder next to this file."""

    name: str
    module: str
    package: str
    flags: str


CERT_MANAGER: Final = Program(name="cert-manager", module="certmanager", package=".", flags="-s -w")


def build() -> Path:
    """Return the folder of the cluster's own programs, made if it is missing. Raises CalledProcessError."""
    return compiled(programs())


def cert_manager() -> Path:
    """Return the path of cert-manager, compiled if it is missing. Raises CalledProcessError."""
    return compiled([CERT_MANAGER]) / CERT_MANAGER.name


def compiled(wanted: Sequence[Program]) -> Path:
    """Return the folder of all programs, with those that are `wanted`."""
    folder = CACHE / f"bin-{fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    for program in wanted:
        if not (folder / program.name).exists():
            compile_program(program, folder)
    return folder


def kube_router() -> Path:
    """Return the path of kube-router, a firewall that enforces NetworkPolicies, compiled if it is missing."""
    return released_program(KUBE_ROUTER, "./cmd/kube-router", "kube-router")


def fingerprint() -> str:
    """Return a digest of the exact versions: another go.sum is another folder."""
    files = sorted([*HERE.glob("*/go.*"), *HERE.glob("*/*.go")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def programs() -> list[Program]:
    version = kubernetes_version()
    major, minor, _ = version.split(".", 2)
    base = "k8s.io/component-base/version"
    stamped = f"-s -w -X {base}.gitVersion=v{version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
    return [
        Program(name="etcd", module="kubernetes", package="go.etcd.io/etcd/server/v3", flags="-s -w"),
        *(
            Program(name=name, module="kubernetes", package=f"k8s.io/kubernetes/cmd/{name}", flags=stamped)
            for name in KUBERNETES
        ),
        *(
            Program(
                name=name,
                module="containerd",
                package=f"github.com/containerd/containerd/v2/cmd/{name}",
                flags="-s -w",
            )
            for name in CONTAINERD
        ),
        Program(name="coredns", module="coredns", package="github.com/coredns/coredns", flags="-s -w"),
    ]


def folder_of(module: str, dependency: str) -> Path:
    """Return the source folder of `dependency`, needed by the Go module in the folder `module`.

    It is fetched if it is missing.
    """
    command = [go(), "mod", "download", "-json", dependency]
    return Path(json.loads(subprocess.run(command, cwd=HERE / module, capture_output=True, check=True).stdout)["Dir"])


def kubernetes_version() -> str:
    found = VERSION.search((HERE / "kubernetes" / "go.mod").read_text())
    if not found:
        raise ValueError("go.mod does not name k8s.io/kubernetes")
    return found[1]


def compile_program(program: Program, folder: Path) -> None:
    compile_package(HERE / program.module, program.package, folder / program.name, program.flags)
