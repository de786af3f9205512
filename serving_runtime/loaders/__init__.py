"""Loaders for the flavors that need no MLflow, whose import takes a second and 100 MB."""
