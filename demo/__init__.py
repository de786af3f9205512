"""One model from a notebook to Production, on this machine: `make demo`."""
