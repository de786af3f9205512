"""`python -m testbed.cluster up | down`."""

import argparse
import sys

from testbed.cluster.cluster import ClusterError, down, up
from testbed.cluster.images import prepare


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed.cluster", description="A one-node Kubernetes on this machine.")
    parser.add_argument("command", choices=["up", "down"])
    if parser.parse_args().command == "down":
        down()
        return 0
    try:
        kubeconfig = up()
        prepare()
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"export KUBECONFIG={kubeconfig}")  # noqa: T201  its answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
