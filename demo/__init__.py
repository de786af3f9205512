"""One model the whole way, on this machine: `make demo`."""
