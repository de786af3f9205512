"""The host's part of a cluster: packages, a network namespace, mounts, cgroups."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NEEDED: Final = {
    "runc": "runc",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "pgrep": "procps",
    "jq": "jq",  # in commands of the pages
}

BRIDGES: Final = Path("/proc/sys/net/bridge")  # without it the firewall sees no packet between two pods of a node


def unmet_requirement() -> str | None:
    """Return the reason why this host cannot run the cluster, in one line; None if it can."""
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        return "the cluster needs Linux and root"
    if not BRIDGES.exists():
        return "the cluster needs the kernel's filter of bridges: `modprobe br_netfilter` loads it"
    missing = missing_packages(NEEDED)
    return f"the cluster needs the packages {' '.join(missing)}: `make packages` installs them" if missing else None


def missing_packages(needed: Mapping[str, str]) -> list[str]:
    """Return Debian's packages for the missing ones of these programs."""
    return sorted({package for program, package in needed.items() if shutil.which(program) is None})


def run(*command: str | Path, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network namespace and a pair of links into it, since the kubelet needs an address other than loopback.

    This host is outside of the cluster: pods reach it at `outside`, and at `public`, an address of no private network.
    """

    name: str
    outside: str = "10.90.0.1"
    inside: str = "10.90.0.2"
    public: str = "203.0.113.1"

    @property
    def enter(self) -> tuple[str, ...]:
        """Command that enters the namespace; `ip netns exec` would mount a fresh /sys and hide the cgroups."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    def create(self, *networks: str) -> None:
        """Make the namespace, and routes from this host to the networks of its pods and Services."""
        near, far = f"{self.name}-0", f"{self.name}-1"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        run("ip", "link", "set", far, "netns", self.name)
        run("ip", "addr", "add", f"{self.outside}/24", "dev", near)
        run("ip", "addr", "add", f"{self.public}/32", "dev", near)
        run("ip", "link", "set", near, "up")
        for network in networks:
            run("ip", "route", "add", network, "via", self.inside)
        for command in (
            ("ip", "link", "set", "lo", "up"),
            ("ip", "addr", "add", f"{self.inside}/24", "dev", far),
            ("ip", "link", "set", far, "up"),
            ("ip", "route", "add", "default", "via", self.outside),
            ("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"),
        ):
            run(*self.enter, *command)

    def delete(self) -> None:
        run("ip", "netns", "del", self.name, check=False)
        run("ip", "link", "del", f"{self.name}-0", check=False)


def network_namespaces() -> list[str]:
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line]


def delete_namespaces_but(kept: Sequence[str]) -> None:
    """Delete the pods' namespaces, which the CNI plugin names `cni-...`, except those that were there before."""
    for name in network_namespaces():
        if name.startswith("cni-") and name not in kept:
            run("ip", "netns", "del", name, check=False)


def kill_shims(socket: Path) -> None:
    """Kill the shims of a containerd that was killed, and their containers; a shim names the containerd's socket."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in command[0] and str(socket).encode() in command:
                kill_with_children(int(process.name))


def kill_with_children(pid: int) -> None:
    children = run("pgrep", "--parent", str(pid), check=False).split()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_with_children(int(child))


def unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{folder}/")), reverse=True):
        run("umount", "-l", mount, check=False)


def remove_cgroups() -> None:
    """Remove empty cgroups only: `rmdir` refuses one that a container still uses."""
    roots = [
        *Path("/sys/fs/cgroup").glob("*/kubepods"),
        *Path("/sys/fs/cgroup").glob("*/k8s.io"),
        Path("/sys/fs/cgroup/kubepods"),
    ]
    for root in roots:
        for folder in (
            sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True) if root.exists() else ()
        ):
            run("rmdir", folder, check=False)
        run("rmdir", root, check=False)
