"""`python -m testbed.cluster up | down | packages`."""

import argparse
import sys

from testbed.browser import NEEDED as BROWSER
from testbed.cluster import images, machine
from testbed.cluster.cluster import ClusterError, down, up


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed.cluster", description="A one-node Kubernetes on this machine.")
    parser.add_argument("command", choices=["up", "down", "packages"], help="packages: which of Debian's the machine still needs")
    command = parser.parse_args().command
    if command == "down":
        down()
        return 0
    if command == "packages":
        print(*machine.missing_packages(machine.NEEDED | images.NEEDED | BROWSER))  # noqa: T201  its answer
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
