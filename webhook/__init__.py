"""The mutating admission webhook: it mounts a model API pod's MLflow model where the serving runtime looks for it."""
