# Stands in for ghcr.io/mlflow/mlflow, of the versions that the tests use everywhere.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}
COPY mlflow-3.17.txt /tmp/requirements.txt
# The import writes the bytecode of the standard library, which the base does not have: each start would take a second more.
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes --requirement /tmp/requirements.txt \
 && python -c "import mlflow.cli, mlflow.server, mlflow.sklearn"
