"""What the pieces agree on: names, the reference to a model, where its files lie, digests, exit codes. Standard library
only.
"""
