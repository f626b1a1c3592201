# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing a CRL never keeps it from the hosts: what goes wrong is told, and the run goes on."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.action import crl_publish
from ansible_collections.mtls.nginx.tests.gate import pki
from ansible_collections.mtls.nginx.tests.unit.actions import Controller


@pytest.fixture
def authority(tmp_path):
    return pki.Authority(tmp_path / "pki", "Devices")


@pytest.fixture
def publish(tmp_path, authority, monkeypatch):
    controller, warned = Controller(tmp_path / "site", {"nas": {}}), []
    monkeypatch.setattr(crl_publish.display, "warning", warned.append)

    def run(**options):
        warned.clear()
        done = controller.run("crl_publish", ca_path=str(authority.path), **options)
        return done, [
            text for text in warned if "publish" in text and "plugin load" not in text
        ]  # Ansible's own besides

    return run


def test_a_file_and_a_program(publish, authority, tmp_path):
    path, copy = tmp_path / "www" / "crl.pem", tmp_path / "copy"
    done, warned = publish(file=str(path), command=["tee", str(copy)])
    assert (done["changed"], done["problem"], warned) == (True, None, [])
    assert path.read_text() == copy.read_text() == authority.crl
    assert publish(file=str(path))[0]["changed"] is False


def test_check_mode_publishes_nothing(publish, tmp_path):
    path, copy = tmp_path / "crl.pem", tmp_path / "copy"
    done, _warned = publish(file=str(path), command=["tee", str(copy)], check=True)
    assert done["changed"]
    assert not path.exists()
    assert not copy.exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"command": ["false"]}, "mtls_crl_publish: false ended with status 1: it said nothing"),
        ({"file": "/proc/nowhere/crl.pem"}, "/proc/nowhere: no such file or directory"),
    ],
)
def test_a_problem_is_a_warning_and_no_failure(publish, options, problem):
    done, warned = publish(**options)
    assert not done.get("failed")
    assert done["problem"].startswith(problem)
    assert warned == [f"the CRL was not published: {done['problem']}"]
