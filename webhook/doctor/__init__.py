"""Checks of an installation in a live cluster, each with the remedy for a fault.

`cluster_reader` reads objects as JSON, `installation` holds what the checks share, `checks` lists them. The package
changes nothing in the cluster, and prints nothing: that belongs in `commands`.
"""
