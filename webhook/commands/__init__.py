"""The commands of `model-api-webhook`: one module for each, which imports what that command needs at its top.

`webhook.cli` imports a module when its command runs. A command reads its input, calls the package that does the work
(`server`, `offline`, `doctor`, `certificates`) and prints the result. Decisions about pods do not belong here.
"""
