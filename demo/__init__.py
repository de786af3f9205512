"""The demo: one model from a notebook to Production and back, on this machine; `make demo` runs it."""
