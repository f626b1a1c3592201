# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    GateProbe,
    Renewals,
    Snippet,
    Textfile,
    WantedFile,
)
from ansible_collections.mtls.nginx.plugins.modules import nginx_config, nginx_facts
from ansible_collections.mtls.nginx.tests.unit.support import result_of

KEY = "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n"
EMPTY = {
    "files": [],
    "secrets": [],
    "absent": [],
    "owned": [],
    "probes": [],
    "snippets": [],
    "shutdown_timeout": None,
    "restart": None,
    "textfile": None,
    "renewals": None,
    "close_rejected": False,
    "reload": False,
    "start": True,
}


def params(**given):
    return {**EMPTY, **given}


def file(**given):
    return {"path": "/a", "content": "é", "mode": "0644", **given}


def test_options_become_a_request():
    request = nginx_config.request_from(
        params(
            files=[file()],
            secrets=[{"path": "/k", "content": KEY}],
            probes=[{"address": "127.0.0.1", "port": 443, "server_name": "a.test", "expect": 400}],
            snippets=[{"service": "nas", "path": "/s", "exempt": True}],
            shutdown_timeout=7,
            restart=True,
            textfile={
                "path": "/t",
                "authorities": [{"name": "", "ca": "/ca", "crl": "/crl"}],
                "certificates": [{"service": "nas", "path": "/c"}],
            },
        ),
        True,
        "/tmp",
    )
    assert request.wanted == [
        WantedFile("/a", "é".encode(), 0o644),
        WantedFile("/k", KEY.encode(), 0o600, secret=True),
    ]
    assert request.gates == [GateProbe("127.0.0.1", 443, "a.test", 400)]
    assert request.snippets == [Snippet("nas", "/s", exempt=True)]
    assert (request.shutdown_timeout, request.restart) == (7, True)
    assert request.textfile == Textfile("/t", [("", "/ca", "/crl")], [("nas", "/c")])
    assert (request.check, request.scratch_parent) == (True, "/tmp")


def test_renewals_come_in_base64():
    renewals = {"folder": "/r", "files": [{"name": "mc-1.p12", "content": "AP8="}], "stay": ["c-2.pem"]}
    request = nginx_config.request_from(params(renewals=renewals), False, None)
    assert request.renewals == Renewals("/r", {"mc-1.p12": b"\x00\xff"}, ["c-2.pem"])


@pytest.mark.parametrize("name", ["../key", "", ".hidden", "a/b", "a b"])
def test_names_that_lead_elsewhere(name):
    renewals = {"folder": "/r", "files": [{"name": name, "content": ""}], "stay": []}
    with pytest.raises(MtlsError, match="is not a file name"):
        nginx_config.request_from(params(renewals=renewals), False, None)


@pytest.mark.parametrize(("mode", "number"), [("0644", 0o644), ("600", 0o600)])
def test_mode(mode, number):
    assert nginx_config.request_from(params(files=[file(mode=mode)]), False, None).wanted[0].mode == number


@pytest.mark.parametrize("mode", ["rw-r--r--", "4755", "", "0888", "u=rw"])
def test_mode_that_is_none(mode):
    with pytest.raises(MtlsError, match="write it in quotes"):
        nginx_config.request_from(params(files=[file(mode=mode)]), False, None)


def called(module, capsys, **args):
    """Run a module as Ansible does; its answer."""
    testing = pytest.importorskip("ansible.module_utils.testing", reason="not yet in this ansible-core")
    with testing.patch_module_args(args), pytest.raises(SystemExit):
        module.main()
    return result_of(capsys.readouterr().out)


def test_nginx_is_not_installed(tmp_path, capsys):
    answer = called(nginx_config, capsys, binary=str(tmp_path / "nginx"))
    assert answer["failed"]
    assert answer["msg"].startswith("nginx is not installed: there is no program")


def test_check_mode_without_nginx(tmp_path, capsys):
    answer = called(
        nginx_config,
        capsys,
        binary=str(tmp_path / "nginx"),
        files=[{"path": str(tmp_path / "ca.crt"), "content": "x"}],
        secrets=[{"path": str(tmp_path / "key"), "content": KEY}],
        _ansible_check_mode=True,
        _ansible_diff=True,
    )
    assert answer["changed"]
    assert answer["accepted"] is None
    assert answer["nginx"] == {"version": None}
    assert {item["change"] for item in answer["files"]} == {"created"}
    assert [item["after"] for item in answer["diff"]] == ["x", "<private key, not shown> (new)\n"]
    assert "MIG" not in json.dumps(answer)
    assert list(tmp_path.iterdir()) == []


def test_no_diff_unless_asked(tmp_path, capsys):
    answer = called(nginx_config, capsys, binary=str(tmp_path / "nginx"), _ansible_check_mode=True)
    assert "diff" not in answer


def test_facts_without_nginx(tmp_path, capsys):
    facts = called(nginx_facts, capsys, binary=str(tmp_path / "nginx"))["nginx"]
    assert (facts["installed"], facts["running"], facts["version"], facts["includes_conf_d"]) == (
        False,
        False,
        None,
        None,
    )
    assert facts["conf_dir"] == "/etc/nginx"
    assert set(facts["directives"].values()) == {None}


def test_facts_of_a_host_without_configuration(tmp_path, capsys):
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\necho 'nginx version: nginx/1.2.3' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    answer = called(nginx_facts, capsys, binary=str(program), conf_path=str(tmp_path / "nginx.conf"))
    facts = answer["nginx"]
    assert facts["version"] == "1.2.3"
    assert facts["config_error"] == f"{tmp_path}/nginx.conf: No such file or directory"
