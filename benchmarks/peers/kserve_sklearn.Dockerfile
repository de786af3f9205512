# KServe's storage initializer and its server of scikit-learn models, of the files of its Go module, in one image.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}
COPY requirements.txt /tmp/requirements.txt
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes --requirement /tmp/requirements.txt
COPY sklearnserver /app/sklearnserver
COPY scripts /storage-initializer/scripts
ENV PYTHONPATH=/app
RUN python -m compileall -q /app
USER 1000:1000
ENTRYPOINT ["python", "-m", "sklearnserver"]
