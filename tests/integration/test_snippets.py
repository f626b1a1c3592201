# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snippet's life on a real host: written, included, in the wrong place, and what site, status and doctor say."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree
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


def reload(host):
    """As somebody who has edited the host's own configuration does, until the new one serves."""
    subprocess.run(["nginx", "-s", "reload", "-c", host.conf], check=True, capture_output=True)
    time.sleep(1)


def test_it_is_asked_like_a_service(photos):
    site, path = photos, photos.own.folder / "snippets" / "mtls-photos.conf"
    live, ask = ("-e", "mtls_status_live=true"), ("-e", "mtls_service=photos", "-e", "mtls_client=phone")
    block(site, "")
    reload(site.own)
    # Included, and nginx has not been told: everybody gets in, and the configuration on disk looks well.
    block(site, f"include {path};")
    assert site.status(site.port, host="photos.lan") == 204
    said = site.refused()
    assert (
        "service photos: nobody (no certificate) got 204 instead of 400 (if the include of its snippet is new" in said
    )
    assert "photos nothing changed; PROBE: nobody (no certificate) got 204 instead of 400" in said
    run, said, found = status(site, *live)
    assert run.returncode != 0
    assert "photos: nobody (no certificate) got 204 instead of 400" in said
    # With a page that is no answer of a gate's, the doctor knows it for certain.
    text = (site.own.folder / "conf.d" / "own.conf").read_text()
    block(site, "")
    own = site.own.folder / "conf.d" / "own.conf"
    own.write_text(own.read_text().replace("return 204", "return 200"))
    reload(site.own)
    own.write_text(text)
    run = site.run("--limit", "nas", *ask, playbook=DOCTOR)
    assert run.returncode != 0
    said = " ".join(run.text.split())
    assert "ALARM: everybody is let in to the service photos on nas" in said
    assert "answered 200, which its snippet never does: the running nginx has not read the include" in said

    reload(site.own)
    run = site.ok()
    assert run.changed == 0
    assert "photos: let in: phone; kept out: nobody" in " ".join(run.text.split())
    assert "NOT ASKED" not in run.text
    run, said, found = status(site, *live)
    assert "host_wrong" not in [finding["kind"] for finding in found["findings"]]
    assert "snippet_not_asked" not in [finding["kind"] for finding in found["findings"]]
    run = site.run("--limit", "nas", *ask, playbook=DOCTOR)
    assert run.returncode == 0, run.text
    assert "A request with its own certificate got 204." in " ".join(run.text.split())

    # Another server block has the name: nginx warns at most, and whoever comes gets in.
    earlier = site.own.folder / "conf.d" / "earlier.conf"
    earlier.write_text(own.read_text().replace(f"include {path};", ""))
    reload(site.own)
    assert site.status(site.port, host="photos.lan") == 204
    assert "service photos: nobody (no certificate) got 204 instead of 400" in site.refused()
    earlier.unlink()
    reload(site.own)

    # A revocation is asked about there too.
    site.host_vars["nas"]["mtls_clients"][1]["state"] = "revoked"
    site.ok()
    run = site.run("-e", "mtls_revoke=phone", playbook=REPOSITORY / "playbooks" / "revoke.yml")
    assert run.returncode == 0, run.text
    assert "photos nothing changed; kept out: nobody (no certificate), phone (revoked)" in " ".join(run.text.split())


def test_what_cannot_be_asked_is_told(photos):
    site, path = photos, photos.own.folder / "snippets" / "mtls-photos.conf"
    own = site.own.folder / "conf.d" / "own.conf"
    block(site, f"include {path};")
    text = own.read_text()
    own.write_text(text.replace("server_name photos.lan", "server_name ~^photos"))
    reload(site.own)
    why = f"the server block in {own}, line 2 could not be asked: none of the service's server_names (photos.lan)"
    run = site.ok()
    said = " ".join(run.text.split())
    assert f"photos: NOT ASKED: {why}" in said
    run, said, found = status(site, "-e", "mtls_status_live=true")
    (finding,) = [each for each in found["findings"] if each["kind"] == "snippet_not_asked"]
    assert why in finding["about"][0]
    run = site.run("--limit", "nas", "-e", "mtls_service=photos", "-e", "mtls_client=phone", playbook=DOCTOR)
    said = " ".join(run.text.split())
    assert f"{why[0].upper()}{why[1:]}" in said

    # Pages of the host's own hide what the gate answers, and who is let in still gets the answer that only it gives.
    own.write_text(
        text.replace("location /", "error_page 400 403 495 496 = @help; location @help { return 204; } location /")
    )
    reload(site.own)
    assert site.status(site.port, host="photos.lan") == 204  # of the page
    said = " ".join(site.refused().split())
    assert "nobody (no certificate) got 204 instead of anything but 204" in said
    own.write_text(own.read_text().replace("@help { return 204", "@help { return 200"))
    reload(site.own)
    assert site.status(site.port, host="photos.lan") == 200
    assert "photos: let in: phone; kept out: nobody" in " ".join(site.ok().text.split())
    # The doctor does not take the page for an answer from behind the gate, and still sees who is let in.
    for client, said in (
        ("phone", "Client 'phone' is let in to the service photos on nas, as the inventory wants it."),
        (
            "guest",
            "Client 'guest' is not let in to the service photos on nas: the allow list of photos on nas does not",
        ),
    ):
        run = site.run("--limit", "nas", "-e", "mtls_service=photos", "-e", f"mtls_client={client}", playbook=DOCTOR)
        assert run.returncode == 0, run.text
        assert said in " ".join(run.text.split())
        hidden = "could not be asked: its own error pages hide what the gate answers" in " ".join(run.text.split())
        assert hidden is (client == "guest")
