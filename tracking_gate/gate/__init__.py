"""The handling of one request: parsed, authenticated, decided, forwarded, recorded.

May import every other package of the gate but `server` and `cli`. The decision itself belongs in `policy`.
"""
