"""The protocols that requests come in: a request's bytes become the model's input, its prediction becomes an answer.

A protocol is one `interface.Protocol`, listed in `table.py`. This package imports codec, input, signature and errors;
what needs numpy or pandas comes through `lazy.py`. The HTTP server, the model and its loaders do not belong here.
"""
