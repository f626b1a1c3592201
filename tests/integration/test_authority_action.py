# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority's modules in Ansible's own process: the same results as in one of their own, and where they are not."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml

from .conftest import PASSPHRASE, tree

AUTHORITY = {"ca_path": "{{ inventory_dir }}/pki", "ca_passphrase": PASSPHRASE}
CA_INIT = {"path": AUTHORITY["ca_path"], "passphrase": PASSPHRASE, "key_type": "ecdsa", "subject": {"CN": "Test CA"}}
CLIENTS = [{"name": "phone", "p12_password": "of the phone"}, {"name": "tablet", "subject": {"O": "Ü", "CN": "tablet"}}]
SERVERS = [{"host": "nas", "name": "nas", "server_names": ["nas.lan"]}]
SET_UP = [
    {"mtls.nginx.ca_init": CA_INIT},
    {"mtls.nginx.client_cert": {**AUTHORITY, "clients": [*CLIENTS, {"name": "stray"}], "key_type": "ecdsa"}},
    {"mtls.nginx.server_cert": {**AUTHORITY, "servers": SERVERS}},
    {"mtls.nginx.crl": {**AUTHORITY, "revoked": [{"name": "tablet"}]}},
]
PLANS = {
    "unchanged authority": {"mtls.nginx.ca_init": CA_INIT},
    "renewed authority": {"mtls.nginx.ca_init": {**CA_INIT, "renew_before": 3649}},
    "a stray client": {"mtls.nginx.client_cert": {**AUTHORITY, "clients": CLIENTS}},
    "a new and a revoked client": {
        "mtls.nginx.client_cert": {**AUTHORITY, "clients": [{"name": "new"}, {"name": "phone", "state": "revoked"}]}
    },
    "a server more": {"mtls.nginx.server_cert": {**AUTHORITY, "servers": [*SERVERS, {**SERVERS[0], "name": "other"}]}},
    "a stale CRL": {"mtls.nginx.crl": {**AUTHORITY, "days": 40, "refresh_before": 35}},
    "a revocation": {"mtls.nginx.crl": {**AUTHORITY, "revoked": [{"name": "stray"}]}},
    "an adoption": {
        "mtls.nginx.ca_adopt": {
            "path": "{{ inventory_dir }}/new",
            "source": [AUTHORITY["ca_path"]],
            "source_passphrase": PASSPHRASE,
        }
    },
    "an archive": {
        "mtls.nginx.ca_archive": {
            "ca_path": AUTHORITY["ca_path"],
            "archive": "/nowhere/a",
            "passphrase": "of the archive",
            "state": "exported",
        }
    },
}
REFUSALS = {
    "changed authority": {"mtls.nginx.ca_init": {**CA_INIT, "subject": {"CN": "Other"}}},
    "a client without a name": {"mtls.nginx.client_cert": {**AUTHORITY, "clients": [{"p12_password": "of the phone"}]}},
    "clients as text": {"mtls.nginx.client_cert": {**AUTHORITY, "clients": "phone"}},
    "wrong passphrase": {
        "mtls.nginx.client_cert": {**AUTHORITY, "ca_passphrase": "a wrong one", "clients": [{"name": "new"}]}
    },
    "a message with a password": {
        "mtls.nginx.client_cert": {
            **AUTHORITY,
            "clients": [{"name": "new", "csr": "/nowhere/of the phone.csr", "p12_password": "of the phone"}],
        }
    },
    "an unknown revocation": {"mtls.nginx.crl": {**AUTHORITY, "revoked": [{"name": "nobody"}]}},
    "an unknown option": {"mtls.nginx.crl": {**AUTHORITY, "day": 3}},
    "two that exclude each other": {"mtls.nginx.crl": {**AUTHORITY, "parent_crl": "/x", "parent": {"path": "/y"}}},
    "a rollover": {"mtls.nginx.ca_rollover": {"ca_path": AUTHORITY["ca_path"], "step": "report"}},
}
# An environment of its own is one of the reasons to run the module.
AS_MODULE = {"environment": {"MTLS_TEST": "1"}}


def run(site, tasks, *arguments):
    """Run tasks on the controller, failing ones too; return the output and what each registered."""
    file, results = site.folder / "play.yml", site.folder / "results.json"
    numbered = [
        {"name": f"Task {number}", **task, "register": f"result_{number}", "ignore_errors": True}
        for number, task in enumerate(tasks)
    ]
    names = ", ".join(f"result_{number}" for number in range(len(tasks)))
    copy = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(results), "mode": "0600"}
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {
        "hosts": "nas",
        "gather_facts": False,
        "vars": variables,
        "tasks": [*numbered, {"ansible.builtin.copy": copy, "check_mode": False}],
    }
    file.write_text(yaml.safe_dump([play]))
    done = site.run(*arguments, playbook=file)
    assert done.returncode == 0, done.text
    return done.text, json.loads(results.read_text())


@pytest.fixture(scope="module")
def authority(module_site):
    site = module_site
    site.add_host("nas")
    site.host_vars["nas"] = {}
    text, results = run(site, SET_UP, "-vvv")
    assert [result["changed"] for result in results] == [True] * 4, text
    assert "plugins/modules/client_cert.py" not in text
    return site


def test_both_ways_say_the_same(authority):
    """Plans and refusals, which change nothing: both ways start from the same."""
    compared = {**PLANS, **REFUSALS}
    tasks = [{**task, "check_mode": True} for task in compared.values()]
    before = tree(authority.pki)
    text, results = run(authority, tasks, "-vvv")
    other_text, others = run(authority, [{**task, **AS_MODULE} for task in tasks], "-vvv")
    assert tree(authority.pki) == before
    ran = re.findall(r"Using module file \S+/mtls/nginx/plugins/modules/(\w+)\.py", other_text)
    assert len(ran) == len(tasks), "the other way was not taken"
    for name, result, other in zip(compared, results, others, strict=True):
        for added in ("invocation", "ansible_parsed"):  # by Ansible, to a module's result
            other.pop(added, None)
        assert result == other, name
        assert bool(result.get("failed")) is (name in REFUSALS), result
    assert any("1 unmanaged: stray" in warning for result in results for warning in result.get("warnings", []))
    for secret in (PASSPHRASE, "of the phone"):
        assert secret not in text


@pytest.mark.parametrize(
    "reason",
    [
        {"environment": {"MTLS_TEST": "1"}},
        {"become": True, "become_method": "ansible.builtin.su"},
        {"async": 60, "poll": 1},
        {"vars": {"ansible_python_interpreter": "{{ inventory_dir }}/python"}},
    ],
    ids=lambda reason: next(iter(reason)),
)
def test_the_module_runs_where_it_is_not_the_same(authority, reason):
    interpreter = authority.inventory / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    text, (result,) = run(authority, [{**PLANS["unchanged authority"], **reason}], "-vvv")
    assert "plugins/modules/ca_init.py" in text
    assert not result.get("failed")
    assert not result["changed"]
