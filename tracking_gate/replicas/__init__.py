"""Several replicas of a gate: one holds a Lease and makes the changes, the others forward changes to it.

`election` takes, renews and gives back the Lease, `fencing` sends a change only while the Lease lasts, `forwarding`
sends changes to the holder, `recovery` finds out what became of a lost holder's moves. `lease` is the only file that
speaks to the Kubernetes API. The package may import every other package of the gate but `server` and `cli`. A gate
without a Lease does not import it.
"""
