# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a host's files, by what the host says it has. tests/integration has hosts with a real nginx."""

from __future__ import annotations

import base64
import functools
import sys

import pytest

from ansible_collections.mtls.nginx.plugins.action import nginx_site
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates, comparison
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import FILE_MODE, SECRET_MODE
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, command_line, host_says
from ansible_collections.mtls.nginx.tests.unit.actions import facts_of_a_host as facts_without_certificates
from ansible_collections.mtls.nginx.tests.unit.support import later

OF_THE_HOST = {"path": "/etc/ssl/web.crt", "key": "/etc/ssl/web.key"}
WEB = {
    "name": "web",
    "server_names": ["web.lan"],
    "upstream": "http://127.0.0.1:8080",
    "certificate": OF_THE_HOST,
    "allow": ["phone"],
}
PLACED = {
    "changed": True,
    "files": [],
    "reloaded": True,
    "started": False,
    "accepted": True,
    "own_shutdown_timeout": None,
    "unguarded": [],
    "snippet_gates": [],
    "nginx": {"version": "1.26.0"},
    "message": "nginx reloaded",
    "warnings": None,
    "diff": None,
}
OWN = {"value": "1h", "file": "/etc/nginx/nginx.conf"}
GOOD = {
    "path": OF_THE_HOST["path"],
    "state": "good",
    "why": None,
    "in_use": True,
    "stale": False,
    "fingerprint": "0" * 64,
    "end": 1900000000,
}


def facts_of_a_host(**changes) -> dict:
    """What a host says that has the certificate of its own."""
    return facts_without_certificates(**{"certificates": {"web": GOOD}, **changes})


@pytest.fixture
def bring(tmp_path, pki, monkeypatch):
    command_line(monkeypatch, inventory=())
    pki.serve(Client("phone"))
    with pki.open() as authority:
        authority.write_crl(30)
    clients = {"mtls_clients": [{"name": "phone"}], "mtls_ca_dir": str(pki.path), "mtls_services": [WEB]}
    controller = Controller(tmp_path / "site", {"nas": clients})

    def run(facts=None, placed=None, fetching=None, *, check=False, **options):
        given = {"authority": str(pki.path), "services": [WEB], **options}
        action, variables = controller.action("nginx_site", check=check, **given)
        answers = {"nginx_facts": facts or facts_of_a_host(), "nginx_config": placed or PLACED}
        heard = host_says(action, **answers, nginx_crl_fetch=fetching)
        return action.run(task_vars=variables), heard

    return run


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    warnings: list[str] = []
    monkeypatch.setattr(nginx_site.display, "warning", warnings.append)
    return warnings


def fingerprints(sent: dict) -> dict[str, str | None]:
    """What the host says of its files once it has those that it was sent."""
    there = {
        item["path"]: comparison.fingerprint(item["content"].encode("utf-8", "surrogateescape"), mode)
        for kind, mode in (("files", FILE_MODE), ("secrets", SECRET_MODE))
        for item in sent[kind]
    }
    return {**dict.fromkeys(sent["absent"]), **there, sent["renewals"]["folder"]: None}


@pytest.mark.parametrize(("value", "sent"), [(None, None), (True, True), (False, False), ("no", False)])
def test_whether_systemd_starts_nginx_again_is_left_alone_unless_it_is_said(bring, warned, value, sent):
    _done, heard = bring(settings={} if value is None else {"restart": value})
    assert (heard[0][1]["compare"]["restart"], heard[1][1]["restart"]) == (sent, sent)


@pytest.mark.parametrize(
    ("facts", "value", "kept"),
    [
        ({"ssi": True, "own_ports": [80]}, None, True),
        ({"ssi": True, "own_ports": [80]}, False, False),  # what YAML makes of `off`
        ({"ssi": True, "own_ports": [443]}, "auto", False),
        ({"ssi": None, "own_ports": None}, "auto", False),
    ],
)
def test_sessions_are_kept_where_the_host_and_the_inventory_allow_it(bring, facts, value, kept):
    settings = {} if value is None else {"session_resumption": value}
    _done, heard = bring(facts_of_a_host(**facts), settings=settings)
    sent, path = heard[1][1], "/etc/nginx/client-certs/sessions.conf"
    assert (path in [item["path"] for item in sent["files"]]) is kept
    assert (path in sent["absent"]) is not kept


def test_without_settings_the_variables_of_the_role_count(tmp_path, pki, monkeypatch):
    command_line(monkeypatch, inventory=())
    pki.serve(Client("phone"))
    with pki.open() as authority:
        authority.write_crl(30)
    said = {
        "mtls_ca_dir": str(pki.path),
        "mtls_clients": [{"name": "phone"}],
        "mtls_nginx_conf": "{{ prefix }}/nginx//nginx.conf",
        "prefix": "/opt",
        "mtls_nginx_restart": "no",
        "mtls_shutdown_timeout": 7,
        "mtls_textfile_dir": "",
        "mtls_crl_publish": {"host": "nas", "server_name": "CRL.lan", "port": 8080, "file": "crl.pem"},
        "mtls_authorities": [{"ca_dir": "visitors", "crl_url": "http://crl.lan/v.pem"}, {"ca_dir": "others"}],
    }
    controller = Controller(tmp_path / "site", {"nas": {**said, "mtls_services": [WEB]}})
    action, variables = controller.action("nginx_site", authority=str(pki.path), services=[WEB])
    heard = host_says(action, nginx_facts=facts_of_a_host(), nginx_config=PLACED)
    assert not action.run(task_vars=variables).get("failed")
    (_name, asked), (_other, sent) = heard
    assert (asked["conf_path"], asked["compare"]["shutdown_timeout"]) == ("/opt/nginx/nginx.conf", 7)
    assert (sent["restart"], sent["textfile"]) == (False, None)
    main = next(item["content"] for item in sent["files"] if item["path"] == "/opt/nginx/conf.d/mtls.conf")
    assert "server_name crl.lan;" in main
    assert action._arguments["crl_urls"] == {"visitors": "http://crl.lan/v.pem"}


@pytest.mark.parametrize("odd", ["text", ["text"], 5, None, [{"crl_url": "http://crl.lan/"}]])
def test_odd_variables_about_others_keep_no_crl_out(tmp_path, monkeypatch, odd):
    """A revocation goes past what is wrong elsewhere in the inventory."""
    command_line(monkeypatch, inventory=())
    controller = Controller(tmp_path / "site", {"nas": {"mtls_crl_publish": odd, "mtls_authorities": odd}})
    action, variables = controller.action("nginx_site")
    action._task_vars = variables
    settings = action._of_the_role()
    assert "crl_server" not in settings
    assert settings["crl_urls"] == {}


def test_files_are_sent_where_something_differs_and_only_there(bring, warned):
    done, heard = bring()
    assert [name for name, _options in heard] == ["nginx_facts", "nginx_config"]
    assert (done["changed"], done["installed"], done["refused"]) == (True, True, {})
    sent = heard[1][1]
    assert sent["guard"]["host"] == "host nas"

    compared = {
        "settled": True,
        "fingerprints": fingerprints(sent),
        "own_shutdown_timeout": OWN,
        "snippet_gates": [],
        "unguarded": [{"service": "web", "path": "/etc/nginx/snippets/mtls-web.conf"}],
    }
    done, heard = bring(facts_of_a_host(comparison=compared))
    assert [name for name, _options in heard] == ["nginx_facts"]
    assert done["changed"] is False
    assert any("worker_shutdown_timeout" in warning for warning in warned)
    assert any("mtls-web.conf" in warning for warning in warned)
    bring(facts_of_a_host(comparison={**compared, "own_shutdown_timeout": None, "unguarded": []}))

    changed = {**compared["fingerprints"], "/etc/nginx/conf.d/mtls.conf": "not ours"}
    for facts in (
        {"running": False},
        {"comparison": {**compared, "settled": False}},
        {"comparison": {**compared, "fingerprints": changed}},
    ):
        _done, heard = bring(facts_of_a_host(**{"comparison": compared, **facts}))
        assert heard[-1][0] == "nginx_config"


def test_what_is_wrong_with_a_certificate_keeps_nothing_else_back(bring):
    unfit = {**GOOD, "state": "unfit", "why": "/etc/ssl/web.crt: expired on 2026-01-01"}
    fetching = {"changed": True, "message": "the CRL is fetched", "warnings": []}
    facts = facts_of_a_host(certificates={"web": unfit})
    done, heard = bring(facts, fetching=fetching, settings={"crl_url": "https://crl.lan/crl.pem"})
    assert [name for name, _options in heard] == ["nginx_facts", "nginx_config", "nginx_crl_fetch"]
    assert done["failed"]
    assert done["msg"].startswith("host nas, service web: /etc/ssl/web.crt: expired on 2026-01-01; it is still served")
    assert done["message"].endswith("the CRL is fetched")


def test_a_last_step_that_fails_hides_nothing_that_was_done(bring):
    """Whoever lost entry by this run is told of all the same."""
    held = {"service": "web", "path": "", "everybody": True, "subjects": [], "public": [], "networks": []}
    placed = {**PLACED, "access": {"gates": [held], "revoked": []}}
    options = {"crl_url": "https://crl.lan/crl.pem"}
    wanted = [{**WEB, "allow": []}]
    fetching = {"failed": True, "msg": "there is no systemd"}
    done, heard = bring(placed=placed, fetching=fetching, settings=options, services=wanted)
    assert [name for name, _options in heard] == ["nginx_facts", "nginx_config", "nginx_crl_fetch"]
    assert (done["failed"], done["msg"], done["message"]) == (True, "there is no systemd", "nginx reloaded")
    assert (done["changed"], done["reloaded"]) == (True, True)
    assert [lost["lost"] for lost in done["access"]["changes"]] == [(("phone", "off the list"),)]


def test_where_it_cannot_be_read_who_could_enter(bring):
    for crl_only in (False, True):
        done, _heard = bring(placed={**PLACED, "access": {"gates": None, "revoked": []}}, crl_only=crl_only)
        assert not done.get("failed")
        assert (done["access"]["compared"], done["access"]["changes"]) == (False, [])


@pytest.mark.parametrize(("of", "lost"), [("pki", 1), ("another authority", 0)])
def test_check_mode_foresees_who_loses_entry_by_a_revocation_of_that_authority(bring, pki, of, lost):
    gate = {"service": "web", "path": "", "everybody": False, "subjects": ["CN=phone"], "public": [], "networks": []}
    placed = {**PLACED, "access": {"gates": [gate], "revoked": []}}
    told = {
        "mtls__crl_of": str(pki.path) if of == "pki" else of,
        "revoked": [{"serial": pki.index()[-1][3], "action": "revoked"}],
    }
    for foreseen in ([told], [{"mtls__crl_of": str(pki.path)}, told], [{}, told]):
        done, _heard = bring(check=True, crl_only=True, placed=placed, foreseen=foreseen)
        assert not done.get("failed"), done
        assert [names for change in done["access"]["changes"] for names, _why in change["lost"]] == ["phone"] * lost


def test_without_nginx(bring):
    absent = facts_of_a_host(installed=False, version=None, running=False, binary=None)
    done, heard = bring(absent, require_nginx=False)
    assert (done["changed"], done["installed"], done["message"]) == (False, False, "nginx is not installed")
    assert [name for name, _options in heard] == ["nginx_facts"]

    _done, heard = bring(absent)
    assert [name for name, _options in heard] == ["nginx_facts", "nginx_config"]


@pytest.mark.parametrize("module", ["facts", "placed"])
def test_what_fails_on_the_host_is_the_result(bring, module):
    done, _heard = bring(**{module: {"failed": True, "msg": "no space"}})
    assert done["failed"]
    assert done["msg"] == "no space"


def test_a_map_that_does_not_fit_is_explained(bring):
    refused = {"failed": True, "msg": "could not build map_hash, you should increase map_hash_bucket_size: 32"}
    directives = {**facts_of_a_host()["nginx"]["directives"], "map_hash_bucket_size": "32"}
    done, _heard = bring(facts_of_a_host(directives=directives), placed=refused)
    assert done["msg"].startswith(f"{refused['msg']}. The host sets map_hash_bucket_size 32 in its http block")

    done, _heard = bring(placed=refused)
    assert done["msg"] == refused["msg"]


def test_a_clock_that_differs_a_little_is_warned_of(bring, warned):
    answer = facts_of_a_host()
    answer["nginx"]["trust"]["clock"] += 900
    bring(answer)
    assert any("clock" in warning for warning in warned)


def test_a_longer_timeout_of_the_host_is_warned_of(bring, warned):
    bring(placed={**PLACED, "own_shutdown_timeout": OWN})
    assert any("worker_shutdown_timeout" in warning for warning in warned)


def test_a_revocation_that_ran_out_is_forgotten_with_the_controllers_word_for_it(bring, pki, monkeypatch):
    serial = pki.index()[-1][3]
    issuer = certificates.read((pki.path / "ca.crt").read_bytes()).certificates[0].subject
    forgets = [{"failed": True, "msg": "it is an older copy", "forgotten": {serial: issuer}}, PLACED]
    done, heard = bring(placed=list(forgets))
    assert done["failed"], "the certificate has not expired"
    assert len(heard) == 2

    later(monkeypatch, days=500)
    with pki.open() as authority:
        authority.write_crl(30)
    now = facts_of_a_host()
    done, heard = bring(now, placed=list(forgets), crl_only=True)
    assert not done.get("failed")
    assert heard[-1][1]["guard"]["forgettable"] == [serial]


@pytest.fixture
def other(tmp_path) -> dict:
    """A service with another authority, which is not there yet."""
    everybody = {option: value for option, value in WEB.items() if option != "allow"}
    return {**everybody, "name": "guests", "server_names": ["guests.lan"], "authority": str(tmp_path / "visitors")}


def test_a_crl_gets_there_though_another_authority_has_none(bring, other):
    done, heard = bring(crl_only=True, services=[WEB, other])
    assert [name for name, _options in heard] == ["nginx_config"]
    assert done["failed"]
    assert "visitors" in done["msg"]
    assert done["msg"].endswith("; the CRLs of the other authorities are in place")

    done, _heard = bring(crl_only=True, services=[WEB, other], placed={"failed": True, "msg": "no space"})
    assert done["msg"].endswith("; no space")

    done, heard = bring(crl_only=True, services=[other], authority=other["authority"])
    assert done["failed"]
    assert heard == []


def test_a_crl_alone(bring):
    for check in (False, True):
        done, heard = bring(crl_only=True, check=check)
        assert (done["changed"], done["refused"]) == (True, {})
        assert [name for name, _options in heard] == ["nginx_config"]


@pytest.fixture
def renews(bring, pki, monkeypatch):
    """The same, of a service at which `phone` can fetch its next certificate."""
    pki.serve(Client("phone", days=600))
    pki.serve(Client("phone", days=800, renew_before=700))
    logs = {"changed": False, "callers": [], "unread": []}
    monkeypatch.setattr(sys.modules[__name__], "host_says", functools.partial(host_says, access_log=logs))
    return functools.partial(bring, services=[{**WEB, "self_renewal": True}])


def test_a_next_certificate_is_placed_and_the_logs_are_asked_first(renews, pki):
    _done, heard = renews()
    assert [name for name, _options in heard] == ["nginx_facts", "access_log", "nginx_config"]
    sent = {item["name"]: base64.b64decode(item["content"]) for item in heard[2][1]["renewals"]["files"]}
    assert sorted(sent.values()) == sorted(pki.file("phone", ending).read_bytes() for ending in (".p12", ".crt"))


def test_the_crl_comes_before_the_logs_and_takes_what_is_withdrawn(renews, pki):
    _done, heard = renews(crl_only=True)
    assert [name for name, _options in heard] == ["nginx_config", "access_log"]
    sent = heard[0][1]["renewals"]
    assert (sent["files"], len(sent["stay"])) == ([], 2)
    pki.serve(Client("phone", revoked=True))
    _done, heard = renews(crl_only=True)
    assert [name for name, _options in heard] == ["nginx_config"]
    assert heard[0][1]["renewals"]["stay"] == []


def test_a_service_that_renews_nothing_asks_nobody(renews):
    for crl_only in (False, True):
        _done, heard = renews(crl_only=crl_only, services=[WEB])
        assert "access_log" not in [name for name, _options in heard]


def test_check_mode_needs_no_authority_yet(bring, other, tmp_path):
    """Neither one that the inventory has, nor one that it has not."""
    theirs = facts_of_a_host(certificates={"web": GOOD, "guests": GOOD})
    done, heard = bring(theirs, check=True, services=[WEB, other])
    assert [name for name, _options in heard] == ["nginx_facts", "nginx_config"]
    assert done["changed"] is True
    assert not (tmp_path / "visitors").exists()
