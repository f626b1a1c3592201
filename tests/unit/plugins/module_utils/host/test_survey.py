# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has, with what only some hosts have."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, nginx_process, renewals, survey, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    Renewals,
    Snippet,
    SnippetPlaces,
    Textfile,
    WantedFile,
)

from .test_end_dates import ENDS, certificate

MARKER = b"# Managed by mtls.nginx\n"


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "nginx.conf").write_text("http { include conf.d/*.conf; }\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "mtls-nas.conf").write_bytes(MARKER)
    (tmp_path / "conf.d" / "mtls-nas.conf").chmod(0o644)
    return tmp_path


def look(conf, *names, **options):
    return survey.look(
        str(conf / "nginx.conf"), [str(conf / "conf.d" / name) for name in names], ChangeRequest(**options)
    )


@pytest.mark.parametrize("obstacle", ["stray", "folder", "interrupted", "not included"])
def test_what_would_be_refused_is_not_settled(conf, obstacle):
    if obstacle == "folder":
        (conf / "conf.d" / "mtls-photos.conf").mkdir()
    if obstacle == "interrupted":
        journal = '{"state": "swapping", "existed": {}, "directories": [], "unread": false}'
        (conf / swap.JOURNAL).write_text(journal)
    if obstacle == "not included":
        (conf / "conf.d" / "mtls-photos.conf").write_bytes(MARKER)
        (conf / "conf.d" / "mtls-photos.conf").chmod(0o644)
        (conf / "nginx.conf").write_text("http { include sites/*.conf; }\n")
    names = [] if obstacle == "stray" else ["mtls-nas.conf", "mtls-photos.conf"]
    assert not look(conf, *names, owned=[str(conf / "conf.d" / "mtls-*.conf")]).settled


def test_another_run_is_told_as_such(conf):
    with swap.exclusive(str(conf)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap, "_LOCK_TIMEOUT", 0.0)
        with pytest.raises(swap.Busy, match="another run"):
            look(conf)


def test_what_few_hosts_have(conf):
    """Metrics that are not there yet, a folder in their place, and what waits for clients."""
    request = {"textfile": Textfile(str(conf / "metrics.prom"), [])}
    assert not look(conf, **request).settled
    (conf / "metrics.prom").mkdir()
    assert not look(conf, **request).settled
    waiting = str(conf / "client-renewals")
    assert look(conf, renewals=Renewals(waiting)).fingerprints == {waiting: None}


def test_only_what_differs_is_read_for_the_controller(conf):
    path = str(conf / "conf.d" / "mtls-nas.conf")
    same = survey.comparison.fingerprint(MARKER, 0o644)
    assert survey.held({path: same, str(conf / "nowhere"): None}) == {}
    assert survey.held({path: None})[path] == {"certificates": (), "crls": ()}


def test_the_metrics_are_about_what_is_put_in_place(conf):
    """Else about what is there, as far as it can be read; a folder in their place leaves them out."""
    paths = {name: str(conf / name) for name in ("new.pem", "gone.pem", "there.pem", "folder.pem", "x" * 300)}
    for name in ("gone.pem", "there.pem"):
        (conf / name).write_bytes(certificate(ENDS[1]))
    (conf / "folder.pem").mkdir()
    textfile = Textfile(str(conf / "metrics.prom"), [], [(name[:9], path) for name, path in paths.items()])
    wanted = WantedFile(paths["new.pem"], certificate(ENDS[0]))
    request = ChangeRequest(wanted=[wanted], absent=[paths["gone.pem"]], textfile=textfile)
    first, metrics = survey.with_textfile(request).wanted
    assert first == wanted
    assert (metrics.path, metrics.shared_folder) == (str(conf / "metrics.prom"), True)
    lines = [line for line in metrics.content.decode().splitlines() if not line.startswith("#")]
    assert [line.partition('service="')[2][:9] for line in lines] == ['new.pem"}', "there.pem"]
    (conf / "metrics.prom").symlink_to(conf)
    assert len(survey.with_textfile(request).wanted) == 2
    (conf / "metrics.prom").unlink()
    (conf / "metrics.prom").mkdir()
    assert survey.with_textfile(request) is request
    assert survey.with_textfile(ChangeRequest()) == ChangeRequest()


def test_metrics_that_are_as_they_should_be_are_settled(conf):
    textfile = Textfile(str(conf / "metrics.prom"), [])
    (metrics,) = survey.with_textfile(ChangeRequest(textfile=textfile)).wanted
    (conf / "metrics.prom").write_bytes(metrics.content)
    (conf / "metrics.prom").chmod(metrics.mode)
    assert look(conf, textfile=textfile).settled
    assert look(conf).settled


def test_what_cannot_be_read_is_not_settled(tmp_path):
    assert look(tmp_path / "nowhere", "mtls-nas.conf") == survey.Survey(False, {})


def test_what_waits_for_clients(conf):
    waiting = conf / "client-renewals"
    waiting.mkdir()
    (waiting / "phone.pem").write_bytes(b"certificate")
    (conf / "nginx.conf").write_text("user root;\n")
    (found,) = look(conf, renewals=Renewals(str(waiting))).fingerprints.values()
    assert found is not None
    assert found == renewals.look(str(waiting), nginx_process.Nginx("nginx", str(conf / "nginx.conf")))


def test_where_snippets_are(conf):
    path = str(conf / "snippets" / "mtls-photos.conf")
    snippet = Snippet("photos", path, server_names=["photos.lan"])
    (conf / "snippets").mkdir()
    (conf / "snippets" / "mtls-photos.conf").write_bytes(MARKER + b"ssl_verify_client optional;\n")
    assert look(conf, snippets=[snippet]).snippets.unguarded == [snippet]
    places = survey.snippet_places(str(conf / "nginx.conf"), [snippet], judge=False)
    assert (places.unguarded, places.gates) == ([], [])
    server = f"server {{ listen 443 ssl; server_name photos.lan; include {path}; }}\n"
    (conf / "conf.d" / "own.conf").write_text(server)
    found = survey.snippet_places(str(conf / "nginx.conf"), [snippet])
    assert found.unguarded == []
    assert [(gate.port, gate.server_name) for gate in found.gates] == [(443, "photos.lan")]
    (conf / "conf.d" / "own.conf").unlink()
    loaded = nginx_conf.load(str(conf / "nginx.conf"))
    (conf / "conf.d" / "own.conf").write_text(server)
    assert survey.snippet_places(str(conf / "nginx.conf"), [snippet], loaded).unguarded == [snippet]
    assert survey.snippet_places("/nowhere", []) == SnippetPlaces()
