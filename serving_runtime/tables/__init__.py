"""Tables of a file as columns: Arrow reads and writes them, and no cell becomes a Python object without need.

May import pyarrow, which is the extra `tables`; nothing of the server imports this package.
"""
