"""Real parts to try the project against: MLflow servers in environments of their own, processes, certificates. Not
distributed.
"""
