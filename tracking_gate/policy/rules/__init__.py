"""Rules of the guarded operations, one function each, which `policy.guarded_operations` lists.

A rule takes a GuardedRequest, only reads from MLflow, and returns what is forwarded or raises a Refusal.
"""
