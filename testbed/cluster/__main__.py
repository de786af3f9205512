"""`python -m testbed.cluster build | programs | up | down | packages`."""

import argparse
import sys
from typing import Final

from testbed.browser import NEEDED as BROWSER
from testbed.cluster import binaries, images, machine
from testbed.cluster.cluster import ClusterError, down, up
from testbed.cluster.kube import unavailable_reason

HELP: Final = (
    "programs: compile those of Kubernetes; build: these and the images, if they can be had;"
    " packages: those of Debian that the machine lacks"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed.cluster", description="A one-node Kubernetes on this machine.")
    parser.add_argument("command", choices=["build", "programs", "up", "down", "packages"], help=HELP)
    command = parser.parse_args().command
    if command == "down":
        down()
        return 0
    if command == "packages":
        print(*machine.missing_packages(machine.NEEDED | images.NEEDED | BROWSER))  # noqa: T201  its answer
        return 0
    if command == "programs":
        binaries.build()
        return 0
    if command == "build":
        if unavailable_reason() is None:
            binaries.build()
            binaries.kube_router()
            images.build_all()
        return 0
    try:
        kubeconfig = up()
        images.prepare()
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"export KUBECONFIG={kubeconfig}")  # noqa: T201  its answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
