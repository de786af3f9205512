"""The API of one model as an OpenAPI 3.1 document: its columns, its parameters, its own example.

This package imports the protocols, which declare their paths and schemas. The server does not belong here.
"""
