"""The webhook's decision without a cluster: objects from files, changed or explained.

The package imports `admission` and what lies below it. It prints nothing and calls no cluster: that belongs in
`commands`.
"""
