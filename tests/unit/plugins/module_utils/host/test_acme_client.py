# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot is called with, and what is made of its answers. tests/integration/test_acme.py has the real one."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import acme_client, nginx_process

NEEDS = "service nas: acme: profile short needs certbot 4.0 or newer, and this host has %s; remove profile, or install"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Programs that say what a test wants, and keep their arguments; there are no others."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(acme_client, "PROGRAM_DIRS", [])
    (tmp_path / "bin").mkdir()

    def make(name, script):
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n{script}\n')
        path.chmod(0o755)
        return lambda: (tmp_path / "calls").read_text().splitlines()

    return make


@pytest.fixture
def order(tmp_path):
    url, webroot = "https://acme.test/dir", str(tmp_path / "webroot")
    return acme_client.Order("nas", "mtls-nas", ["nas.test"], url, webroot, profile="short")


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("certbot 4.0.0", None),
        ("certbot 10.1", None),
        ("python3.11/ssl.py: a warning\ncertbot 4.0.0", None),
        ("certbot 3.9.1", "certbot 3.9.1"),
        ("python3.9 has come to its end\ncertbot 2.1.0", "certbot 2.1.0"),
        ("certbot", "another one"),
        ("", "another one"),
    ],
    ids=["4.0.0", "10.1", "4.0.0 with a warning", "3.9.1", "2.1.0 with a warning", "without a number", "nothing"],
)
def test_a_profile_needs_a_certbot_that_knows_profiles(program, order, version, old):
    """An older one would not know the option, and one that passes over it would obtain another certificate."""
    calls = program("certbot", f"if [ \"$1\" = --version ]; then echo '{version}'; fi")
    certbot = acme_client.Certbot.find()
    if old is None:
        certbot.obtain(order, "/hook")
        asked = calls()[1]
        assert asked.startswith("certonly --non-interactive ")
        assert asked.endswith("--domain nas.test --required-profile short")
    else:
        with pytest.raises(MtlsError) as caught:
            certbot.obtain(order, "/hook")
        assert str(caught.value).startswith(NEEDS % old)
        assert calls() == ["--version"]


def test_there_is_no_certbot(program):
    assert acme_client.Certbot.find() is None


@pytest.mark.parametrize(
    ("script", "tried", "renews"),
    [
        ("exit 0", ["certbot.timer"], True),
        ("[ $3 = certbot-renew.timer ]", ["certbot.timer", "certbot-renew.timer"], True),
        ("exit 1", ["certbot.timer", "certbot-renew.timer"], False),
        ("exec /bin/sleep 30", ["certbot.timer", "certbot-renew.timer"], False),
    ],
    ids=["debian", "enterprise linux", "neither", "a systemd that hangs"],
)
def test_the_packages_timer_renews(program, monkeypatch, script, tried, renews):
    monkeypatch.setattr(acme_client, "systemd_runs", lambda: True)
    monkeypatch.setattr(nginx_process, "COMMAND_TIMEOUT", 0.5 if "sleep" in script else 10.0)
    calls = program("systemctl", script)
    assert acme_client.renews_by_itself() is renews
    assert calls() == [f"enable --now {name}" for name in tried]
