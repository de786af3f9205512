"""A whole one-node Kubernetes on this machine, without Docker: API server, controllers, scheduler, kubelet, containerd,
kube-proxy, DNS.

`python -m testbed.cluster up` starts it in a network namespace of its own, `down` takes away what it made, and nothing
else.
"""
