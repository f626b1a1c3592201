# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built, installed elsewhere, run by its full name."""

from __future__ import annotations

import subprocess

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY


def test_the_installed_tarball_guards_a_host(site, upstream, monkeypatch, tmp_path):
    elsewhere = tmp_path / "collections"

    def galaxy(*arguments):
        subprocess.run(["ansible-galaxy", "collection", *arguments], check=True, capture_output=True, cwd=tmp_path)

    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(elsewhere))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    galaxy("build", REPOSITORY, "--output-path", tmp_path)
    (tarball,) = tmp_path.glob("mtls-nginx-*.tar.gz")
    galaxy("install", "--offline", tarball, "--collections-path", elsewhere)

    port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    run = site.run("-vvv", playbook="mtls.nginx.site")
    assert run.returncode == 0, run.text
    assert str(elsewhere) in run.text
    assert str(REPOSITORY / "plugins") not in run.text
    assert site.status(port, client="phone") == 200
    assert site.status(port) == 400
