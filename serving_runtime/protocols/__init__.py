"""The protocols that requests come in: bytes and headers in, what the model is asked, bytes and headers out; no server
is known here.
"""
