"""`python -m testbed.cluster up | down`."""

import argparse
import sys

from testbed.cluster.cluster import ClusterError, down, up


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed.cluster", description="A one-node Kubernetes on this machine.")
    parser.add_argument("command", choices=["up", "down"])
    if parser.parse_args().command == "down":
        down()
        return 0
    try:
        print(up())  # noqa: T201  its answer
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
