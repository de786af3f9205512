# Every command that people and CI run. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
UV_VERSION := 0.13.9
# uv from the machine, or one of our own if the machine has none.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
VENV := .venv
PYTHON := $(VENV)/bin/python
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
SOURCES := model_contract webhook model_delivery model_lifecycle serving_runtime tracking_gate testbed demo benchmarks tests docs manifests image_bytecode.py

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.tools/bin/uv:
	@echo "uv is not on this machine: installing $(UV_VERSION) into .tools/"
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The lock names no index (see `lock`), so it is exported as requirements with hashes and installed from the machine's index. It is compiled at
# once: if PYTHONDONTWRITEBYTECODE is set, each of the many processes of the tests would compile pandas anew, for three seconds.
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
	@$(RUN) python -m testbed.actionlint action.yml .github/workflows/*.yml examples/domino-project/.github/workflows/*.yml

.PHONY: fix
fix: setup ## Format, and mend what a machine can mend
	@$(RUN) ruff format --quiet $(SOURCES)
	@$(RUN) ruff check --quiet --fix $(SOURCES)

.PHONY: render
render: setup ## Write what the docs and the manifests repeat of the code
	@$(RUN) python docs/render.py

# The images of the manifests. Each is named as its target, with the part behind the image's name as the suffix of its tag.
IMAGES := webhook gate lifecycle delivery delivery-full runtime runtime-sklearn runtime-tables
BUILD_webhook := --file Dockerfile.webhook
BUILD_gate := --file Dockerfile.gate
BUILD_lifecycle := --file Dockerfile.lifecycle
BUILD_delivery := --file Dockerfile.runtime --target delivery
BUILD_delivery-full := --file Dockerfile.runtime --target delivery-full
BUILD_runtime := --file Dockerfile.runtime --target runtime
BUILD_runtime-sklearn := $(BUILD_runtime) --build-arg MODEL_REQUIREMENTS=requirements-sklearn.txt
BUILD_runtime-tables := $(BUILD_runtime-sklearn) --build-arg EXTRA=tables
# Such as model-api-runtime:0.1.0-sklearn for the target runtime-sklearn.
tag_of = model-api-$(firstword $(subst -, ,$(1))):$(VERSION)$(patsubst $(firstword $(subst -, ,$(1)))%,%,$(1))

.PHONY: images
images: $(IMAGES:%=image-%) ## Build the container images of the manifests with podman, buildah or docker (REGISTRY=... before their names)

.PHONY: $(IMAGES:%=image-%)
$(IMAGES:%=image-%): image-%:
	@tool=$$(command -v podman || command -v buildah || command -v docker) || { echo "no podman, buildah or docker on this machine" >&2; exit 1; }; \
	  $$tool build $(BUILD_$*) --tag $(if $(REGISTRY),$(REGISTRY)/)$(call tag_of,$*) $(BUILD_OPTIONS) .

.PHONY: $(IMAGES:%=tag-%)
$(IMAGES:%=tag-%): tag-%:
	@echo $(call tag_of,$*)

.PHONY: version
version: ## Print the version of pyproject.toml
	@echo $(VERSION)

# The time of the commit, so that two builds of one commit are the same bytes.
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
PACKAGE := mlflow_model_api-$(VERSION)
PAGES := mlflow-model-api-docs-$(VERSION)
PAGES_HOLD := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs examples manifests
CHART := charts/mlflow-model-api
SBOM := jq --argjson epoch $(EPOCH) --arg version $(VERSION)
SBOM_OF_FILES = xargs -0 sha256sum | $(SBOM) --raw-input --null-input --from-file .github/sbom/files.jq

FORMER_HOLDS := examples manifests model_contract model_delivery model_lifecycle serving_runtime tests/webhook/cases \
  tracking_gate webhook .dockerignore image_bytecode.py Dockerfile.gate Dockerfile.lifecycle Dockerfile.runtime Dockerfile.webhook LICENSE \
  README.md pyproject.toml requirements-sklearn.txt uv.lock
.PHONY: former
former: ## Keep the files of COMMIT as the former version, with which tests/upgrades and tests/full/test_upgrade.py work
	@git archive $(or $(COMMIT),$(error name a commit: make former COMMIT=v0.1.0)) $(FORMER_HOLDS) \
	  | xz -9e > testbed/former_version.tar.xz

.PHONY: dist
dist: $(filter .tools/bin/uv,$(UV)) ## The files of a release in dist/: sdist, wheel, the docs with the manifests, an SBOM of each
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$(EPOCH) $(UV) build --quiet --build-constraints requirements-action.txt --require-hashes --out-dir dist
	@rm -f dist/.gitignore
	@$(UV) export --quiet --frozen --all-extras --no-default-groups --format cyclonedx1.5 \
	  | $(SBOM) --from-file .github/sbom/package.jq > dist/$(PACKAGE).cdx.json
	@git archive --format=tar --prefix=$(PAGES)/ HEAD $(PAGES_HOLD) | gzip --no-name > dist/$(PAGES).tar.gz
	@git ls-tree -r -z --name-only HEAD $(PAGES_HOLD) | $(SBOM_OF_FILES) --arg name $(PAGES) > dist/$(PAGES).cdx.json

.PHONY: chart-sbom
chart-sbom: ## Print the SBOM of the Helm chart
	@git ls-tree -r -z --name-only HEAD $(CHART) | $(SBOM_OF_FILES) --arg name mlflow-model-api-chart

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
