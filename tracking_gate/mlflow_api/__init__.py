"""MLflow as the gate uses it: the connection, the gate's own lookups, and what is remembered of their answers.

May import `http`, `metrics` and `errors`. Nothing here knows callers, routes or rules.
"""
