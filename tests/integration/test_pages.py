# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate that holds, and nothing behind it: an application that is down, then up, and files that are not there."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

PLAYBOOKS = REPOSITORY / "playbooks"


class Application(http.server.ThreadingHTTPServer):
    """Says `status` to everything; `seen` are the requests."""

    allow_reuse_address = True
    daemon_threads = True
    status = 200

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = self.headers
            self.server.seen.append((self.path, headers["X-SSL-Client-DN"], headers["User-Agent"]))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass


@contextlib.contextmanager
def application(port, status=200):
    server = Application(("127.0.0.1", port), Application.Handler)
    server.seen, server.status = [], status
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def wiki(site):
    """A host with a service whose application does not run."""
    site.port, site.app_port = free_port(), free_port()
    site.service = {
        "name": "wiki",
        "server_names": ["wiki.lan"],
        "listen": f"127.0.0.1:{site.port}",
        "upstream": f"http://127.0.0.1:{site.app_port}",
        "allow": ["phone"],
    }
    clients = [{"name": "phone"}, {"name": "guest"}, {"name": "lost"}]
    site.add_host("nas", mtls_clients=clients, mtls_services=[site.service])
    return site


def said_by(site, playbook="site", *arguments, code=0):
    run = site.run(*arguments, playbook=PLAYBOOKS / f"{playbook}.yml")
    assert "Traceback" not in run.text, run.text
    assert run.returncode == code, run.text
    return " ".join(run.text.split())


def doctor(site, client="phone", code=0):
    return said_by(site, "doctor", "-e", "mtls_service=wiki", "-e", f"mtls_client={client}", code=code)


def live_status(site, code):
    said_by(site, "status", "-e", "mtls_status_live=true", code=code)
    return json.loads((site.inventory / "status" / "status.json").read_text())


def pages_found(document):
    return [each["about"] for each in document["findings"] if each["kind"] == "page_unanswered"]


def test_an_application_that_is_down_and_comes_up(wiki):
    down = f"the gate opens, but http://127.0.0.1:{wiki.app_port} does not answer (502)"
    said = said_by(wiki)
    assert "let in: phone" in said
    assert f"wiki: {down}" in said
    assert wiki.status(wiki.port, client="phone", host="wiki.lan") == 502
    assert f"wiki: {down}" in said_by(wiki)  # nothing changed, and it is told again

    said = doctor(wiki)
    assert f"as the inventory wants it: {down}. " in said
    assert "Remedy: start the application there, or correct upstream in the service and run ansible-playbook" in said
    assert "got 204" in said
    found = live_status(wiki, 2)
    assert pages_found(found) == [[f"nas (wiki: {down})"]]
    assert [host["state"] for host in found["hosts"]] == ["as it should be"]

    with application(wiki.app_port, 401) as seen:  # it is there, and asks for its own password
        assert "the gate opens, but" not in said_by(wiki)
        assert seen == [("/", "CN=phone", "mtls.nginx-probe")]
        assert "the gate opens, but" not in doctor(wiki)
        assert pages_found(live_status(wiki, 0)) == []
        assert len(seen) == 3
        # Who is kept out by the gate is not sent on, whatever the doctor is asked, nor is anybody for a CRL.
        doctor(wiki, "guest")
        said_by(wiki, "refresh_crl")
        said_by(wiki, "revoke", "-e", "mtls_revoke=lost")
        assert len(seen) == 3
    with application(wiki.app_port, 503):
        url = f"http://127.0.0.1:{wiki.app_port}"
        assert f"wiki: the gate opens, but {url} answers 503 to GET /" in said_by(wiki)


def test_another_page_or_none(wiki):
    with application(wiki.app_port) as seen:
        wiki.service["probe_path"] = "/health"
        said_by(wiki)
        assert [path for path, _dn, _agent in seen] == ["/health"]
        # Its list names somebody else, and then two, of whom one is let in at the gate too.
        wiki.service["paths"] = [{"path": "/health/", "allow": ["guest"]}]
        said_by(wiki)
        doctor(wiki)
        assert len(seen) == 1
        wiki.service["allow"] = ["phone", "guest"]
        said_by(wiki)
        assert seen[1:] == [("/health", "CN=guest", "mtls.nginx-probe")]
        wiki.service["probe_path"] = "none"
        said_by(wiki)
        doctor(wiki, "guest")
        live_status(wiki, 0)
        assert len(seen) == 2
    assert "the gate opens, but" not in said_by(wiki)
    wiki.service["probe_path"] = "/health?full"
    assert "host nas, service wiki: probe_path '/health?full' must start with /" in wiki.refused()


def test_files_that_are_not_there(wiki):
    del wiki.service["upstream"]
    root = wiki.folder / "www"
    wiki.service["root"] = str(root)
    missing = f"wiki: the gate opens, but {root}/ is not there (404)"
    assert missing in said_by(wiki)
    assert "Remedy: create it on the host, or correct root or probe_path in the service and run" in doctor(wiki)
    root.mkdir()
    assert f"wiki: the gate opens, but {root}/ has no index.html, or nginx may not read it (403)" in said_by(wiki)
    (root / "index.html").write_text("here")
    assert "the gate opens, but" not in said_by(wiki)
    wiki.service["probe_path"] = "/docs/"
    assert f"wiki: the gate opens, but {root}/docs/ is not there (404)" in said_by(wiki)
