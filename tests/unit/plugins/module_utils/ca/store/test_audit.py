# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: each act has its line, also when the run was killed beside it; nothing that was written goes."""

from __future__ import annotations

import getpass
import json
import os
import socket
import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, later

CI = ("GITHUB_ACTOR", "GITHUB_RUN_ID", "GITLAB_USER_LOGIN", "CI_JOB_URL", "AWX_HOST", "JOB_ID", "SUDO_USER")


@pytest.fixture(autouse=True)
def no_pipeline(monkeypatch):
    for name in CI:
        monkeypatch.delenv(name, raising=False)


class Killed(BaseException):
    pass


def die(*_arguments, **_options):
    raise Killed


def log(pki) -> list[dict]:
    return [json.loads(line) for line in (pki.path / "audit.log").read_text().splitlines()]


def acts(pki) -> list[tuple[str, str | None]]:
    return [(event["did"], event.get("subject")) for event in log(pki)]


def test_every_act_has_a_line_and_a_second_run_has_none(pki, monkeypatch):
    created, signed = log(pki)
    assert (created["did"], created["subject"]) == ("ca created", "/C=ES/O=Acme/CN=Test CA")
    assert (signed["did"], signed["number"], signed["entries"]) == ("crl signed", 1, 0)
    result = pki.one(Client("a"))
    issued = log(pki)[-1]
    assert issued == {
        "at": issued["at"],
        "did": "issued",
        "serial": result.entry.serial,
        "subject": "/CN=a",
        "until": result.entry.not_after,
        "who": getpass.getuser(),
        "host": socket.gethostname(),
    }
    pki.serve(Client("a"))
    assert len(log(pki)) == 3
    later(monkeypatch, days=340)
    renewed = pki.one(Client("a")).entry.serial
    pki.one(Client("a", revoked=True, reason="keyCompromise"))
    with pki.open() as authority:
        authority.write_crl(30)
    new_authority(pki.path, SUBJECT, passphrase="the new passphrase")
    assert [event["did"] for event in log(pki)[3:]] == ["renewed", "revoked", "revoked", "crl signed", "key"]
    assert log(pki)[3]["serial"] == renewed
    assert {event["serial"] for event in log(pki)[4:6]} == {result.entry.serial, renewed}
    assert log(pki)[4]["reason"] == "keyCompromise"
    assert log(pki)[-1]["what"] == "encrypted"
    text = (pki.path / "audit.log").read_text()
    assert "the new passphrase" not in text
    assert stat.S_IMODE((pki.path / "audit.log").stat().st_mode) == 0o600
    assert not (pki.path / ".audit.pending").exists()


def test_check_mode_writes_nothing(pki):
    pki.serve(Client("a"), check=True)
    assert len(log(pki)) == 2


@pytest.mark.parametrize(
    ("environment", "who", "job"),
    [
        (
            {
                "GITHUB_ACTOR": "octocat",
                "GITHUB_RUN_ID": "7",
                "GITHUB_SERVER_URL": "https://github.example",
                "GITHUB_REPOSITORY": "acme/site",
            },
            "octocat",
            "https://github.example/acme/site/actions/runs/7",
        ),
        (
            {"GITLAB_USER_LOGIN": "ada", "CI_JOB_URL": "https://gitlab.example/-/jobs/3"},
            "ada",
            "gitlab.example/-/jobs/3",
        ),
        ({"AWX_HOST": "https://awx.example", "JOB_ID": "12"}, None, "https://awx.example/#/jobs/12"),
        ({"SUDO_USER": "alice"}, "alice", None),
        ({"GITHUB_ACTOR": "a\nb" + "x" * 5000}, "a\nb", None),
    ],
)
def test_who_and_which_pipeline(pki, monkeypatch, environment, who, job):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    pki.one(Client("a"))
    event = log(pki)[-1]
    user = getpass.getuser()
    assert event["who"].startswith(who or user)
    assert len(event["who"]) <= 300
    assert (job in event["job"]) if job else "job" not in event


def test_a_run_killed_before_the_act_leaves_no_line(pki, monkeypatch):
    serial = pki.one(Client("a")).entry.serial
    with monkeypatch.context() as patched:
        patched.setattr("ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index.Index.save", die)
        with pytest.raises(Killed):
            pki.one(Client("a", revoked=True))
    assert (pki.path / ".audit.pending").exists()
    with pki.open() as authority:
        assert authority.record.is_valid(serial)
    assert len(log(pki)) == 3
    assert not (pki.path / ".audit.pending").exists()


@pytest.mark.parametrize("written", [0, 1, 40, "all"])
def test_a_run_killed_after_the_act_has_its_lines_once_and_whole(pki, monkeypatch, written):
    append = audit.AuditLog._append

    def die_in_mid_write(self, lines):
        append(self, lines if written == "all" else lines[:written])
        raise Killed

    pki.serve(Client("a"), Client("b"))
    with monkeypatch.context() as patched:
        patched.setattr(audit.AuditLog, "_append", die_in_mid_write)
        with pytest.raises(Killed):
            pki.serve(Client("a", revoked=True), Client("b", revoked=True))
    with pki.open():
        assert acts(pki)[4:] == [("revoked", "/CN=a"), ("revoked", "/CN=b")]
    with pki.open():
        assert len(log(pki)) == 6


def test_a_certificate_without_a_line_in_the_index_is_noted_when_it_is_entered(pki, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index.Index.save", die)
        with pytest.raises(Killed):
            pki.one(Client("a"))
    with pki.open():
        assert acts(pki)[2:] == [("entered", "/CN=a")]


def test_the_log_is_only_ever_appended_to_and_may_be_moved_away(pki):
    before = (pki.path / "audit.log").read_bytes()
    number = (pki.path / "audit.log").stat().st_ino
    pki.one(Client("a"))
    assert (pki.path / "audit.log").read_bytes().startswith(before)
    assert (pki.path / "audit.log").stat().st_ino == number
    os.rename(pki.path / "audit.log", pki.path / "audit.log.1")
    pki.one(Client("b"))
    assert acts(pki) == [("issued", "/CN=b")]


def test_a_new_passphrase_after_a_killed_run_loses_neither_line(pki, monkeypatch):
    pki.one(Client("a"))
    with monkeypatch.context() as patched:
        patched.setattr(audit.AuditLog, "_append", die)
        with pytest.raises(Killed):
            pki.one(Client("a", revoked=True))
        for passphrase in ("one", "two"):
            wanted = WantedAuthority(str(pki.path), SUBJECT, keys.KeyKind("ecdsa"), passphrase, 3650, 30, "one")
            with pytest.raises(Killed):
                creation.ensure(wanted, check=False)
    pki.passphrase = "one"
    with pki.open():
        assert [event["did"] for event in log(pki)[3:]] == ["revoked", "key"]


@pytest.mark.parametrize("text", ["", "x", "{}\n{}\n", '{"size": 0}\n[]\n', '{"size": "x"}\n{"did": "issued"}\n'])
def test_a_damaged_list_of_what_is_pending_stops_nobody(pki, text):
    (pki.path / ".audit.pending").write_text(text)
    assert pki.one(Client("a")).action == "issued"
    assert len(log(pki)) == 3
