# The SBOM that uv writes of the lock, the same for each build of a commit: the time is that of the commit, and an address names no index.
del(.serialNumber)
| .metadata.timestamp = ($epoch | todate)
| .metadata.component.purl = "pkg:pypi/mlflow-model-api@\($version)"
| .components[].purl |= sub("[?].*"; "")
| .components[].externalReferences[]?.url |= sub("^https://index\\.invalid/"; "")
