# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
COLLECTIONS := build/collections
COLLECTION := $(COLLECTIONS)/ansible_collections/mtls/nginx

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(COLLECTIONS)
export LC_ALL := C.UTF-8
export PIP_DISABLE_PIP_VERSION_CHECK := 1

##@ Try it
demo: $(VENV)/.controller $(COLLECTION)  ## site.yml against this machine, then a table of real requests (root)
	examples/demo/run.sh up

demo-clean: $(VENV)/.controller $(COLLECTION)  ## take away all that the demo made
	examples/demo/run.sh down

##@ Check it
test: lint build sanity unit integration  ## all of it (root: the integration tests run a real nginx)

lint: $(VENV)/.dev $(COLLECTION) changelog-lint docs-lint  ## ruff, yamllint, ansible-lint's production profile, changelog and docs
	ruff check
	ruff format --check
	yamllint --strict .
	ansible-lint

changelog-lint: $(VENV)/.dev  ## the changelog's fragments
	antsibull-changelog lint

docs-lint: $(VENV)/.dev $(COLLECTION)  ## the documentation of modules, roles and the collection
	cd $(COLLECTION) && antsibull-docs lint-collection-docs --plugin-docs .

sanity: $(VENV)/.dev  ## ansible-test sanity, with nothing ignored
	python tests/lint/sanity.py

unit integration: export PYTHONPATH := $(CURDIR)/$(COLLECTIONS)

unit: $(VENV)/.dev $(COLLECTION) packages  ## unit tests
	pytest tests/unit

integration: $(VENV)/.dev $(COLLECTION) packages  ## integration tests with a real nginx (root)
	@[[ $$EUID -eq 0 ]] || { echo "The integration tests start and reload nginx: run them as root." >&2; exit 1; }
	pytest tests/integration

##@ Ship it
build: $(VENV)/.dev  ## the collection's tarball in build/, installed elsewhere and looked at
	python tests/lint/tarball.py

##@ Keep it tidy
clean:  ## remove the virtual environment and everything built
	@[[ ! -e build/demo ]] || { echo "build/demo says what the demo has changed: make demo-clean first." >&2; exit 1; }
	rm -rf $(VENV) build .ansible .pytest_cache .ruff_cache .hypothesis tests/output

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

packages:
	@tests/packages.sh

$(VENV)/.controller: requirements/controller.txt
	requirements/venv.sh $(VENV)
	python -m pip install --quiet -r requirements/controller.txt
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.controller
	python -m pip install --quiet -r requirements/dev.txt
	touch $@

# The collection under the only path from which Ansible and Python import it. The link points back at this directory:
# every tool that walks it has build/ on its list of exceptions.
$(COLLECTION):
	mkdir -p $(@D)
	ln -sfn ../../../.. $@

.PHONY: demo demo-clean test lint changelog-lint docs-lint sanity unit integration build clean help packages
