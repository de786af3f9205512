"""Tables of a file as columns that Arrow reads and writes, without a Python object for each cell.

May import pyarrow, which is the extra `tables`; nothing of the server imports this package.
"""
