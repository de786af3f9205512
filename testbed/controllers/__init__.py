"""Controllers of others on the test cluster, built from their Go modules: KServe, metrics-server and KEDA."""
