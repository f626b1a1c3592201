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
ROWS :=
PAGES :=
ADDRESS :=
RUNS := 3
ANEW :=
SCENARIOS := existing default fleet lifecycle
# A process for each processor. Each takes tests in their order, so that most files meet one process and its fixtures.
PARALLEL := --numprocesses=auto --maxprocesses=8 --dist=worksteal

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(COLLECTIONS)
export LC_ALL := C.UTF-8
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python and pytest keep what they have compiled, also where an image's environment says otherwise: hundreds of processes
# would compile the collection anew, each for itself.
export PYTHONDONTWRITEBYTECODE :=
# With it, as images of containers have it, Python reads each module that Ansible pipes to it byte by byte: 168,000 system
# calls a task (findings/ansible-pipelining-unbuffered.sh), 8 % of the integration tests' processor time.
unexport PYTHONUNBUFFERED

##@ Try it
demo: $(VENV)/.controller $(COLLECTION)  ## site.yml against this machine, then a table of real requests; ADDRESS=192.0.2.7 opens it to a phone (root)
	examples/demo/run.sh up $(ADDRESS)

demo-clean: $(VENV)/.controller $(COLLECTION)  ## take away all that the demo made
	examples/demo/run.sh down

##@ Check it
test:  ## all of it; the unit tests with the oldest and the newest ansible-core (root: the integration tests run a real nginx)
	@python3 tests/phases.py

test-long: $(VENV)/.clients $(COLLECTION) packages-clients packages-integration  ## the long trials: many kills, reloads under load, each nginx, each client program, each ansible-core (root)
	tests/packages.sh dbus libpam-systemd libtpm2-pkcs11-1 libtpm2-pkcs11-tools libtss2-tcti-swtpm0 libtss2-tcti-tabrmd0 swtpm \
	    tpm2-abrmd aria2 dehydrated ffmpeg git git-lfs httpie lego lftp mercurial mmdebstrap monitoring-plugins-basic rclone \
	    restic skopeo subversion wget wget2
	pytest -m long
	pytest $(PARALLEL) tests/gate --nginx=all
	$(MAKE) matrix

mutants: $(VENV)/.mutants $(COLLECTION) packages  ## one thing changed at a time in what decides who enters, and each line of the rendered gate taken away: some test must notice (root, hours)
	python tests/mutants.py
	python tests/gate/trial.py
	python tests/gate/trial.py --nginx=mainline

lint: $(VENV)/.dev $(COLLECTION) changelog-lint docs-lint ci-lint  ## ruff, strict types, yamllint, ansible-lint's production profile, changelog and docs
	ruff check
	ruff format --check
	mypy
	yamllint --strict .
	ansible-lint

changelog-lint: $(VENV)/.dev  ## the changelog's fragments
	antsibull-changelog lint

ci-lint: $(VENV)/.dev  ## the examples for GitHub Actions and GitLab CI, against the schemas of both
	check-jsonschema --builtin-schema vendor.github-workflows examples/ci/github/*.yml
	check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci examples/ci/gitlab/.gitlab-ci.yml

docs-lint: $(VENV)/.dev $(COLLECTION)  ## the documentation of modules, roles and the collection
	cd $(COLLECTION) && antsibull-docs lint-collection-docs --plugin-docs .

sanity: $(VENV)/.dev  ## ansible-test sanity, with nothing ignored
	python tests/lint/sanity.py

images:  ## the images for molecule, as far as they have to be built here (root)
	python3 molecule/run.py --images $(SCENARIOS)

molecule: $(VENV)/.molecule $(COLLECTION)  ## real hosts in containers: SCENARIOS="default fleet" chooses (root, or a Docker engine)
	python molecule/run.py $(SCENARIOS)

matrix: $(COLLECTION) packages  ## unit tests and the workflow on each supported ansible-core (root)
	python3 tests/matrix.py $(PARALLEL)

matrix-ends: $(COLLECTION) packages  ## the same on the oldest and the newest of them only (root)
	python3 tests/matrix.py --ends $(PARALLEL)

matrix-environments:
	python3 tests/matrix.py --ends --environments

unit fuzz integration coverage clients test-long mutants bench screenshots: export PYTHONPATH := $(CURDIR)/$(COLLECTIONS)

# The unit tests write thousands of small files and wait for the disk each time. In memory, where there is a gigabyte of
# it for files, and programs may run from there, they need not.
unit fuzz matrix matrix-ends: export PYTEST_DEBUG_TEMPROOT := $(shell \
    [[ $$(df --output=avail /dev/shm 2>/dev/null | tail -n 1) -gt 1000000 \
        && ! $$(findmnt --noheadings --output OPTIONS --target /dev/shm) =~ noexec ]] && echo /dev/shm || true)

# One test in a hundred takes a quarter of the time.
unit: $(VENV)/.dev $(COLLECTION) packages  ## unit tests but the slow ones, the everyday loop
	pytest $(PARALLEL) -m "not long and not slow" -o tmp_path_retention_policy=failed tests/unit --ignore=tests/unit/fuzz

fuzz: $(VENV)/.dev $(COLLECTION) packages  ## unit tests with whatever Hypothesis thinks up
	pytest $(PARALLEL) -o tmp_path_retention_policy=failed tests/unit/fuzz

# Tests of one file may be a story: they stay in one process. Files in their order, not by their number of tests: those
# with few are the longest, and the short ones of tests/gate are to be the last, so that all processes end together.
integration: $(VENV)/.openbao $(VENV)/.collections $(COLLECTION) packages-integration  ## integration tests with a real nginx (root)
	@[[ $$EUID -eq 0 ]] || { echo "The integration tests start and reload nginx: run them as root." >&2; exit 1; }
	pytest $(PARALLEL) --dist=loadfile --no-loadscope-reorder --durations=25 tests/integration tests/gate

coverage: $(VENV)/.openbao $(VENV)/.collections $(COLLECTION) packages-integration  ## which branches the unit and integration tests reach (root)
	@[[ $$EUID -eq 0 ]] || { echo "The integration tests start and reload nginx: run them as root." >&2; exit 1; }
	python tests/branches.py $(PARALLEL) --dist=loadfile --no-loadscope-reorder tests/unit tests/integration tests/gate

clients: $(VENV)/.clients $(COLLECTION) packages-clients  ## real client programs and proxies at the gate, and docs/clients.md written from it (root)
	python -m ansible_collections.mtls.nginx.tests.clients $(if $(ANEW),--anew)

screenshots: $(VENV)/.dev $(COLLECTION)  ## a sample of each page, and pictures of it in build/screenshots; PAGES="status-mixed" takes these alone (root)
	tests/packages.sh chromium fonts-dejavu-core
	python tests/pages/screenshots.py $(PAGES)

##@ Measure it
bench: $(VENV)/.openbao $(VENV)/.gates $(VENV)/.collections $(COLLECTION)  ## what things cost against the peers; ROWS="issue-1000 again-10000" runs these alone (root)
	@[[ $$EUID -eq 0 ]] || { echo "Some rows start and reload nginx: run them as root." >&2; exit 1; }
	tests/packages.sh apache2-bin apache2-utils haproxy
	python tests/bench --runs $(RUNS) $(if $(ROWS),--rows $(ROWS))

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

# Phases of `make test`, ahead of what needs them.
environment:
	requirements/venv.sh $(VENV)

requirements: $(VENV)/.dev $(VENV)/.openbao $(VENV)/.molecule $(COLLECTION)

packages:
	@tests/packages.sh

packages-integration:
	@tests/packages.sh certbot chromium default-jre-headless goaccess iproute2 libnss3-tools lnav \
	    monitoring-plugins-basic pebble

packages-clients:
	@tests/packages.sh chromium default-jdk-headless firefox-esr gcc git gnutls-bin golang-go haproxy lftp libc6-dev \
	    libnss3-tools libwolfssl-dev mosquitto mosquitto-clients nodejs postgresql-client python3-pycurl rclone wget wget2

$(VENV)/.controller: requirements/controller.txt
	requirements/venv.sh $(VENV)
	python requirements/install.py $(VENV)/bin/python -r requirements/controller.txt
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.controller
	python requirements/install.py $(VENV)/bin/python -r requirements/dev.txt
	touch $@

$(VENV)/.clients: requirements/clients.txt requirements/gates.txt $(VENV)/.dev
	python requirements/install.py $(VENV)/bin/python -r requirements/clients.txt
	touch $@

# Other gates, 120 MiB, for the benchmarks.
$(VENV)/.gates: requirements/gates.txt $(VENV)/.dev
	python requirements/install.py $(VENV)/bin/python -r requirements/gates.txt
	touch $@

$(VENV)/.mutants: requirements/mutants.txt $(VENV)/.dev
	python requirements/install.py $(VENV)/bin/python -r requirements/mutants.txt
	touch $@

# OpenBao's server, 70 MiB, for the integration tests and the benchmarks.
$(VENV)/.openbao: requirements/openbao.txt $(VENV)/.dev
	python requirements/install.py $(VENV)/bin/python -r requirements/openbao.txt
	touch $@

$(VENV)/.molecule: requirements/molecule.txt $(VENV)/.collections
	python requirements/install.py $(VENV)/bin/python -r requirements/molecule.txt
	touch $@

# Other people's collections, beside ours.
$(VENV)/.collections: requirements/fetch_collections.py $(VENV)/.dev
	python requirements/fetch_collections.py $(COLLECTIONS)
	touch $@

# The collection under the only path from which Ansible and Python import it. The link points back at this directory:
# every tool that walks it has build/ on its list of exceptions.
$(COLLECTION):
	mkdir -p $(@D)
	ln -sfn ../../../.. $@

.PHONY: demo demo-clean test test-long mutants lint changelog-lint docs-lint ci-lint sanity unit fuzz integration coverage images molecule matrix matrix-ends matrix-environments clients screenshots bench build clean help environment requirements packages packages-clients packages-integration
