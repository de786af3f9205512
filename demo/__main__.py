"""`python -m demo [--keep]`: take one model from a notebook to Production and back, with checks at the end."""

import argparse
import signal
import sys

from demo.run import run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="demo", description="One model from a notebook through Staging into Production, and back."
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running and print commands to try; ends with Ctrl-C"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return 0 if run(keep=arguments.keep) else 1
    except KeyboardInterrupt:
        print("\nStopped; every process of the demo has ended.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
