"""The contract between the applications: names, the reference to a model, paths, digests, tokens and exit codes.

`names` has variables, labels, tags and Secrets, `model_ref` the four variables as one value, `layout` the paths of a
model's files, `digest` their digest, `exit_codes` the codes of every command. The package also holds mechanisms that
several applications share: settings, log lines, metrics of several processes, and causes of failed requests. It imports
the standard library only. A decision of one application does not belong here.
"""
