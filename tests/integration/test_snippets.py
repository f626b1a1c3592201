# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snippet's life on a real host: written, included, in the wrong place, and what site, status and doctor say."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import tree
from .test_status import status

DOCTOR = "mtls.nginx.doctor"


@pytest.fixture
def photos(site):
    """A host with a server block of its own, which is to be guarded."""
    site.port = free_port()
    service = {"name": "photos", "server_names": ["photos.lan"], "snippet": True, "allow": ["phone"]}
    site.own = site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "guest"}], mtls_services=[service])
    other = {"name": "other", "server_names": ["other.lan"], "listen": f"127.0.0.1:{free_port()}", "root": "/nowhere"}
    site.host_vars["nas"]["mtls_services"].append({**other, "allow": []})
    site.ok()
    return site


def block(site, before: str) -> None:
    certificates = site.own.folder / "server-certs" / "other"
    (site.own.folder / "conf.d" / "own.conf").write_text(
        f"server {{\n listen 127.0.0.1:{site.port} ssl; server_name photos.lan;\n"
        f" ssl_certificate {certificates}.crt; ssl_certificate_key {certificates}.key;\n"
        f" {before}\n location / {{ return 204; }}\n}}\n"
    )


def test_it_guards_nothing_until_it_is_included(photos):
    site, path = photos, photos.own.folder / "snippets" / "mtls-photos.conf"
    block(site, "")
    again = site.ok()
    assert again.changed == 0
    said = " ".join(again.text.split())
    assert f"photos: GUARDS NOTHING until a server block includes {path}" in said
    assert f"no server block includes {path}, so it guards nothing yet" in said
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode != 0
    assert found["findings"][0]["kind"] == "guards_nothing"
    assert str(path) in json.dumps(found["findings"][0])
    ask = ("-e", "mtls_service=photos", "-e", "mtls_client=guest")
    run = site.run("--limit", "nas", *ask, playbook=DOCTOR)
    said = " ".join(run.text.split())
    assert run.returncode != 0
    assert "ALARM: everybody is let in to the service photos on nas: no server block there includes" in said

    # A place where it is no gate: nothing is changed, and CRLs are brought all the same.
    block(site, f"if ($request_method = POST) {{ return 204; }}\n include {path};")
    before = tree(site.own.folder / "conf.d")
    said = site.refused()
    assert f"'if' in {site.own.folder}/conf.d/own.conf, line 4 comes before the snippet {path}" in said
    assert tree(site.own.folder / "conf.d") == before
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode != 0
    assert "comes before the snippet" in said

    # The right one.
    block(site, f"include {path};")
    site.host_vars["nas"]["mtls_services"][0]["allow"] = ["phone", "guest"]
    run = site.ok()
    assert "GUARDS NOTHING" not in run.text
    assert site.status(site.port, host="photos.lan", client="guest") == 204
    assert site.status(site.port, host="photos.lan") == 400
    again = site.ok()
    assert again.changed == 0
    assert "GUARDS NOTHING" not in again.text
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert "guards_nothing" not in [finding["kind"] for finding in found["findings"]]
    run = site.run("--limit", "nas", *ask, playbook=DOCTOR)
    assert run.returncode == 0, run.text
