"""Promotion: make MLflow's stages and aliases what the promotion file says, all of it or nothing.

`preflight` reads, `steps` decides, `apply` changes. This package may import the registry and the modules below
it, never staging, tokens or a command.
"""
