"""The contract between the applications: names, the reference to a model, paths, digests, tokens and exit codes.

It also holds mechanisms that several applications share: settings, log lines, metrics of several processes, and causes
of failed requests. It imports the standard library only. A decision of one application does not belong here.
"""
