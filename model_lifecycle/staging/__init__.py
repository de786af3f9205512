"""From a registered version to Staging: deployed in Domino, called once, marked in the registry. Each step can be
repeated.
"""
