# Every command that people and CI run. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
UV_VERSION := 0.13.9
# uv from the machine, or one of our own where the machine has none.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
VENV := .venv
PYTHON := $(VENV)/bin/python
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
SOURCES := model_contract webhook model_delivery model_lifecycle serving_runtime tracking_gate testbed demo benchmarks tests docs manifests

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.tools/bin/uv:
	@echo "uv is not on this machine: installing $(UV_VERSION) into .tools/"
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The lock names no index (see `lock`), so it is exported as requirements with hashes and installed from the machine's index. It is compiled at
# once: where PYTHONDONTWRITEBYTECODE is set, each of the many processes of the tests would compile pandas anew, for three seconds.
$(VENV)/.installed: uv.lock pyproject.toml $(filter .tools/bin/uv,$(UV))
	@echo "installing what uv.lock names into $(VENV)/"
	@test -x $(PYTHON) || $(UV) venv --quiet --python '>=3.11' $(VENV)
	@$(UV) export --quiet --frozen --all-extras --no-extra spark --no-extra ray --no-emit-project \
	  | $(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(PYTHON) -
	@$(UV) pip install --quiet --no-deps --python $(PYTHON) --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed ## Install what the project needs into .venv (done by every other command)

.PHONY: demo
demo: setup ## The main job, end to end, on this machine (KEEP=1 leaves it running)
	@$(RUN) python -m demo $(if $(KEEP),--keep)

.PHONY: test
test: setup ## All tests, on real parts (ARGS='tests/webhook -x' for some of them; COVERAGE=1 measures coverage too)
	@$(if $(COVERAGE),$(RUN) coverage erase)
	@$(RUN) python -m testbed.run_tests $(ARGS)

.PHONY: test-full
test-full: setup ## Tests in tests/full: a foreign controller, Spark, Ray, a second container runtime or more than 2 GB
	@$(RUN) CI=true python -m testbed.run_tests --full

.PHONY: check
check: setup ## Format, lint, types, imports, Dockerfiles, workflows, generated files, links
	@$(RUN) ruff format --check --quiet $(SOURCES)
	@$(RUN) ruff check --quiet $(SOURCES)
	@$(RUN) mypy
	@$(RUN) lint-imports --no-logo
	@$(RUN) python docs/render.py --check
	@$(RUN) pytest -qq -p no:cacheprovider tests/test_docs.py -k links
	@$(RUN) hadolint Dockerfile.webhook Dockerfile.runtime Dockerfile.gate Dockerfile.lifecycle testbed/cluster/mlflow.Dockerfile
	@$(RUN) python -m testbed.actionlint action.yml examples/domino-project/.github/workflows/*.yml

.PHONY: fix
fix: setup ## Format, and mend what a machine can mend
	@$(RUN) ruff format --quiet $(SOURCES)
	@$(RUN) ruff check --quiet --fix $(SOURCES)

.PHONY: render
render: setup ## Write what the docs and the manifests repeat of the code
	@$(RUN) python docs/render.py

.PHONY: images
images: ## Build the container images of the manifests with podman, buildah or docker
	@tool=$$(command -v podman || command -v buildah || command -v docker) || { echo "no podman, buildah or docker on this machine" >&2; exit 1; }; \
	  $$tool build --file Dockerfile.webhook --tag model-api-webhook:$(VERSION) . ; \
	  $$tool build --file Dockerfile.gate --tag model-api-gate:$(VERSION) . ; \
	  $$tool build --file Dockerfile.lifecycle --tag model-api-lifecycle:$(VERSION) . ; \
	  $$tool build --file Dockerfile.runtime --target delivery --tag model-api-delivery:$(VERSION) . ; \
	  $$tool build --file Dockerfile.runtime --target delivery-full --tag model-api-delivery:$(VERSION)-full . ; \
	  $$tool build --file Dockerfile.runtime --target runtime --tag model-api-runtime:$(VERSION) . ; \
	  $$tool build --file Dockerfile.runtime --target runtime --build-arg MODEL_REQUIREMENTS=requirements-sklearn.txt \
	    --tag model-api-runtime:$(VERSION)-sklearn . ; \
	  $$tool build --file Dockerfile.runtime --target runtime --build-arg EXTRA=tables \
	    --build-arg MODEL_REQUIREMENTS=requirements-sklearn.txt --tag model-api-runtime:$(VERSION)-tables .

.PHONY: packages
packages: setup ## Install what the cluster, the images and the browser need from Debian's packages (root)
	@missing=$$($(RUN) python -m testbed.cluster packages); [ -z "$$missing" ] || { \
	  echo "installing $$missing"; export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq; apt-get install -qq --yes --no-install-recommends $$missing >/dev/null; }

.PHONY: packages-full
packages-full: ## Install what tests/full needs from Debian's packages: Java 17 for Spark (root)
	@command -v java >/dev/null || { export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq; apt-get install -qq --yes --no-install-recommends openjdk-17-jre-headless >/dev/null; }

.PHONY: cluster
cluster: setup ## A one-node Kubernetes with the project's images on this machine; prints its KUBECONFIG
	@$(RUN) python -m testbed.cluster up

.PHONY: cluster-down
cluster-down: setup ## Take it away again
	@$(RUN) python -m testbed.cluster down

.PHONY: bench
bench: setup ## Measure what the docs state, with the machine (minutes)
	@$(RUN) python -m benchmarks

.PHONY: lock
lock: setup ## Resolve the newest versions that pyproject.toml allows
	@$(UV) lock --quiet $(if $(UPGRADE),--upgrade)
	@# What action.yml installs with.
	@$(UV) pip compile --quiet --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  $(if $(UPGRADE),--upgrade) --output-file requirements-action.txt requirements-action.in
	@# An index is a fact of a machine, not of the project: the lock keeps versions and hashes, whatever they are fetched from.
	@sed -E -i 's#"https://[^"]*/simple/?"#"https://index.invalid/simple"#; s#url = "https://[^"]*/#url = "https://index.invalid/#' uv.lock
