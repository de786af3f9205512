"""The caller behind a request: a service token, a person in a file, or a user of Domino.

May import `actors`, `secret_directory`, `metrics` and `errors`. What a caller may do does not belong here.
"""
