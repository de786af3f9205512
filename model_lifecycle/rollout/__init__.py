"""Rollouts: a Deployment or an InferenceService gets the version that the registry names, and is put back if it fails.

`sequence.py` runs the steps. `workloads.py` reads and patches the two kinds, `readiness.py` judges a Deployment and its
pods, `pod_checks.py` asks the pods, `workload_lease.py` keeps two rollouts of one workload apart. Requests to the
cluster are in `cluster_objects.py`. Rules of promotion do not belong here: a rollout only reads the registry.
"""
