"""Several replicas of a gate: one holds a Lease and makes the changes, the others forward changes to it.

May import every other package of the gate but `server` and `cli`. A gate without a Lease does not import it. `lease` is
the only file that speaks to the Kubernetes API.
"""
