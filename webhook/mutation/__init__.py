"""The parts that are added to a pod, and the JSON Patch that adds those that are missing.

Each module makes or checks one part; `patch` puts them together. The package imports `targets` and what lies below it,
and knows nothing of reviews or HTTP. A rule that refuses a pod without adding a part belongs in `admission`.
"""
