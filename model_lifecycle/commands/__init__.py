"""The commands of `model-api`, with their options and with all that they print.

A command reads options and the environment, calls staging, promotion or tokens, and prints the result. Rules and
requests do not belong here. Nothing but `cli.py`, which lists the commands, imports this package.
"""
