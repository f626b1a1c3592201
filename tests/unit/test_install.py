# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv takes packages from where pip is told to take them, or is not asked."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "requirements" / "install.py"


@pytest.fixture(scope="module")
def install():
    specification = importlib.util.spec_from_file_location("install", FILE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def only_this(monkeypatch, path):
    """Have pip read one file of settings."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))


@pytest.mark.slow
def test_what_goes_for_pip_install(install, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.example/simple\nextra-index-url =\n    https://a.example\n"
        "    https://b.example\nconstraint = /etc/all.txt\n[install]\nconstraint = /etc/install.txt\n"
        "[download]\nfind-links = /elsewhere\n"
    )
    only_this(monkeypatch, tmp_path / "pip.conf")
    monkeypatch.setenv("PIP_INDEX_URL", "https://nearer.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    settings = install.pip_settings(sys.executable)
    assert {name: settings[name].split() for name in install.SETTINGS.keys() - {"cert"}} == {
        "index-url": ["https://nearer.example/simple"],
        "extra-index-url": ["https://a.example", "https://b.example"],
        "constraint": ["/etc/install.txt"],
        "find-links": ["/wheels", "/more"],
    }


def test_it_is_handed_on_or_uv_is_not_asked(install):
    settings = {"find-links": "/wheels\n/more", "cert": "/ca.crt", "timeout": "60"}
    said = install.uv_environment(settings)
    assert said["UV_FIND_LINKS"] == "/wheels,/more"
    assert said["SSL_CERT_FILE"] == "/ca.crt"
    assert install.uv_environment({**settings, "trusted-host": "mirror.example"}) is None


@pytest.mark.slow
def test_what_uv_cannot_pip_tries(install, tmp_path, monkeypatch, capfd):
    """A stand-in for a uv that reaches no package, and a pip that is asked for nothing but its help."""
    only_this(monkeypatch, os.devnull)
    refusing = tmp_path / "uv"
    refusing.write_text("#!/bin/sh\nexit 2\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(install, "UV", refusing)
    assert install.main(sys.executable, ["--help"]) == 0
    said = capfd.readouterr()
    assert "pip tries" in said.err
    assert "install [options]" in said.out
