# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says before its CRL is fetched by itself. tests/integration/test_crl_timer.py has it done, by systemd."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import Place
from ansible_collections.mtls.nginx.tests.unit.crl_programs import WATCH
from ansible_collections.mtls.nginx.tests.unit.crl_programs import files as wanted
from ansible_collections.mtls.nginx.tests.unit.support import run_module


@pytest.fixture
def run(tmp_path):
    """Run the module for an nginx that this machine does not have."""
    conf = str(tmp_path / "nginx.conf")

    def checked(files, check=True):
        result = run_module("nginx_crl_fetch", check, files=files, conf_path=conf)
        assert not Place.of(conf).exists
        return result

    return checked


def test_nothing_is_there_and_nothing_is_wanted(run):
    result = run({}, check=False)
    assert (result["changed"], result["message"]) == (False, "nothing is fetched")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (wanted(), "the CRL is fetched"),
        (wanted({}, watch=WATCH), "the host checks whether the controller still reaches it"),
    ],
    ids=["fetched", "watched"],
)
def test_check_mode_says_what_would_be(run, files, said):
    result = run(files)
    assert (result["changed"], result["message"]) == (True, f"{said} every 20 minutes")


def test_without_openssl_nothing_is_fetched(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run(wanted())
    assert result["failed"]
    assert (
        result["msg"]
        == "mtls_crl_url: the program openssl, which checks the CRL, is missing; install the package openssl"
    )
