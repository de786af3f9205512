"""The caller behind a request: a service token, the holder of an issuer's token, or a person of a source of people.

May import `actors`, `secret_directory`, `http`, `metrics` and `errors`. What a caller may do does not belong here.
"""
