"""A version's files as an image of a registry, which Kubernetes mounts as a volume.

`layers` writes files as tar archives, `image` makes an image of them, `image_registry` sends it to a registry with a
login of `login_file`, which `registry_login` sends as the registry asks for it, and `sequence` does all of it for a
version. Only `image_registry` imports oras, which asks credential helpers.
"""
