"""Every number that the docs state, as a command: `python -m benchmarks.<name>`, or all of them by `make bench`."""
