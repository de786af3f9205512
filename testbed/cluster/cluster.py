"""Start and stop of the cluster.

Everything of a cluster lies in one folder, also the ids of its processes, so that a later run can end it.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from testbed.cluster import binaries, components, image_store, pki
from testbed.cluster.components import Layout
from testbed.cluster.machine import (
    Network,
    delete_namespaces_but,
    kill_shims,
    network_namespaces,
    remove_cgroups,
    run,
    unmet_requirement,
    unmount_below,
)

NAME: Final = "model-api"
READY_SECONDS: Final = 60.0  # in which the API server answers a command as it is expected to
RUN: Final = Path(os.environ.get("XDG_RUNTIME_DIR") or "/run") / "mlflow-model-api-cluster"
LOADED: Final = RUN / "images.json"  # ids of containerd's images by their tags
PROGRAMS: Final = RUN / "bin"  # a link, as another checkout may have other programs
# Those that others need come first; they end the other way round.
PROCESSES: Final[dict[str, Callable[[Layout], list[str]]]] = {
    "etcd": components.etcd,
    "apiserver": components.api_server,
    "containerd": components.containerd,
    "controller-manager": components.controller_manager,
    "scheduler": components.scheduler,
    "kubelet": components.kubelet,
    "proxy": components.proxy,
    "dns": components.dns,
    "firewall": components.firewall,
}
# What kubectl must find before the next process starts.
AWAITED: Final = {
    "containerd": ("get", "--raw=/readyz"),
    "dns": ("wait", "--for=condition=Ready", "node/node", "--timeout=1s"),
}

# Kept, since a child that is forgotten while it runs is a warning; the ids in the folder are what ends them.
STARTED: Final[list["subprocess.Popen[bytes]"]] = []


class ClusterError(RuntimeError):
    """The cluster cannot be started; the message says why."""


def up() -> Path:
    """Return the kubeconfig of a cluster whose node is ready. Raises ClusterError.

    The rest of an earlier cluster is removed first.
    """
    if reason := unmet_requirement():
        raise ClusterError(reason)
    layout = Layout(run=RUN, programs=binaries.build(), network=Network(name=NAME))
    down()
    for folder in (layout.run, layout.pki, layout.run / "containerd", layout.run / "log"):
        folder.mkdir(parents=True)
    PROGRAMS.symlink_to(layout.programs)
    (layout.run / "namespaces.json").write_text(json.dumps(network_namespaces()))
    LOADED.write_text(json.dumps(image_store.restore(run(layout.programs / "containerd", "--version"))))
    layout.network.create(components.PODS, components.SERVICES)
    pki.write(layout.pki, layout.network.inside)
    for name in PROCESSES:
        start(name, layout)
        if name in AWAITED:
            wait_for(layout, *AWAITED[name])
    wait_for(layout, "get", "serviceaccount", "default")
    return layout.kubeconfig


def running() -> bool:
    """Return True if a whole cluster runs here; what a killed run left behind does not count."""
    layout = Layout(run=RUN, programs=PROGRAMS, network=Network(name=NAME))
    return all(pid_of(name, layout) for name in PROCESSES)


def down() -> None:
    """Remove what `up` made, whole or in part, and only that."""
    if not RUN.exists():
        return
    layout = Layout(run=RUN, programs=PROGRAMS, network=Network(name=NAME))
    stop(["kubelet"], layout)
    kill_containers(layout)
    # One second: the API server takes ten to end its watches, and nothing of what it holds is kept.
    stop([name for name in reversed(PROCESSES) if name != "kubelet"], layout, seconds=1)
    kill_shims(layout.containerd_socket)
    unmount_below(layout.run)
    with suppress(FileNotFoundError, ValueError):
        delete_namespaces_but(json.loads((layout.run / "namespaces.json").read_text()))
    layout.network.delete()
    remove_cgroups()
    shutil.rmtree(layout.run, ignore_errors=True)


def start(name: str, layout: Layout) -> None:
    """Start one process, or start it again after `stop`."""
    with (layout.run / "log" / name).open("ab") as log:
        command = [*layout.network.enter, *PROCESSES[name](layout)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=layout.run, start_new_session=True
        )
    STARTED.append(process)
    (layout.run / f"{name}.pid").write_text(str(process.pid))


def stop(names: Iterable[str], layout: Layout, *, seconds: float = 10) -> None:
    """Ask the processes to end, wait, and kill them. The API server takes seconds to end."""
    pids = [pid for name in names if (pid := pid_of(name, layout))]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in filter(alive, pids):
        os.kill(pid, signal.SIGKILL)
    for process in STARTED:
        if process.pid in pids:
            process.wait()


def pid_of(name: str, layout: Layout) -> int | None:
    """Return the id of a process, or None if it has ended.

    A process that has the same id by now does not work in the cluster's folder, and is not taken for it.
    """
    with suppress(FileNotFoundError, ValueError, PermissionError):
        pid = int((layout.run / f"{name}.pid").read_text())
        if Path(f"/proc/{pid}/cwd").resolve() == layout.run and alive(pid):
            return pid
    return None


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def kill_containers(layout: Layout) -> None:
    if not (layout.programs / "ctr").exists():
        return
    ctr = (f"{layout.programs}/ctr", f"--address={layout.containerd_socket}", "--namespace=k8s.io", "tasks")
    tasks = run(*ctr, "list", "--quiet", check=False).split()
    for task in tasks:
        run(*ctr, "kill", "--signal", "SIGKILL", task, check=False)
    deadline = time.monotonic() + 5
    while "RUNNING" in run(*ctr, "list", check=False) and time.monotonic() < deadline:
        time.sleep(0.1)
    for task in tasks:
        run(*ctr, "delete", task, check=False)


def wait_for(layout: Layout, *arguments: str) -> None:
    """Wait until a kubectl command succeeds. Raises ClusterError."""
    command = [f"{layout.programs}/kubectl", f"--kubeconfig={layout.kubeconfig}", *arguments]
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.5)  # each kubectl takes a tenth of a second of processor
    raise ClusterError(
        f"kubectl {' '.join(arguments)} did not succeed within {READY_SECONDS:.0f} s; the logs are in {layout.run}/log"
    )
