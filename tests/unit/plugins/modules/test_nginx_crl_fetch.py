# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does that fetches its CRL by itself: with cron. tests/integration/test_crl_timer.py has systemd."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import system_ca
from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import Place
from ansible_collections.mtls.nginx.tests.unit.crl_programs import WATCH
from ansible_collections.mtls.nginx.tests.unit.crl_programs import files as wanted
from ansible_collections.mtls.nginx.tests.unit.support import run_module, run_on_host
from ansible_collections.mtls.nginx.tests.unit.support import tree as tree_of


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


@pytest.fixture
def cron(tmp_path):
    """Run the module on a host without systemd."""
    for name in ("data", "units", "cron"):
        (tmp_path / name).mkdir()

    def work(files, check=False):
        """What the module says, and whether something has changed on the host."""
        before = tree_of(tmp_path)
        answer = run_on_host(tmp_path, "nginx_crl_fetch", check, files=files)
        return answer["message"], answer["changed"], tree_of(tmp_path) != before, str(answer.get("warnings", ""))

    return work


def test_from_nothing_to_a_timer_and_back(cron, tmp_path):
    watched = "the host checks whether the controller still reaches it every 20 minutes"
    fetched = "the CRL is fetched every 20 minutes"
    watching = wanted({}, watch=WATCH)
    assert cron(watching, check=True) == (watched, True, False, "")
    assert cron(watching) == (watched, True, True, "")
    assert cron(watching) == (watched, False, False, "")

    fetching = {name: text.replace("/etc/nginx/", f"{tmp_path}/nginx/") for name, text in wanted().items()}
    *said, warning = cron(fetching)
    assert said == [fetched, True, True]
    why = f"{tmp_path}/nginx/client-certs/crl.pem: is missing, and only the controller installs the first one"
    assert f"the CRL is fetched from now on, and the first time failed: {why}" in warning
    assert cron(fetching) == (fetched, False, False, "")

    def facts(**options):
        return run_on_host(tmp_path, "nginx_facts", binary=str(tmp_path / "nginx"), **options)["nginx"]

    found = facts(system_ca=True)
    assert found["crl_fetch"]["digest"]
    assert [failure.startswith(why) for failure in found["crl_fetch"]["failures"]] == [True]
    assert found["system_ca"] == system_ca.bundle()

    gone = "the CRL is no longer fetched"
    assert cron({}, check=True) == (gone, True, False, "")
    assert cron({}) == (gone, True, True, "")
    assert cron({}) == ("nothing is fetched", False, False, "")
    assert facts()["crl_fetch"] is None
