"""Reads the files of flavors that can be loaded without MLflow, whose import takes a second and 100 MB."""
