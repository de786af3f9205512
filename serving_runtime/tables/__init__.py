"""Tables of a file as columns that Arrow reads and writes, without a Python object for each cell.

May import pyarrow, which is the extra `tables`; the server imports this package only if it is installed.
"""
