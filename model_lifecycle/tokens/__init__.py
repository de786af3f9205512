"""Service tokens of projects: the content of their Secret, and the delivery of a new token.

`store` is pure: it computes a patch of the Secret. This package may import `cluster` and the modules below it, never
staging, promotion or a command.
"""
