# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that fetches: what it remembers, says and measures. tests/integration has it with a real nginx."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_fetch, crl_place, crl_records, heard

SOURCE = crl_fetch.Source("", "http://crl.test/crl.pem", "/ca", "/crl", "/revoked", "/end")


def settings(tmp_path, *sources, watch=None, textfile=True):
    where = {"path": str(tmp_path / "mtls_nginx.prom"), "authorities": [], "certificates": []} if textfile else None
    made = crl_fetch.Settings("nginx", "/etc/nginx/nginx.conf", sources, where, watch)
    (tmp_path / crl_records.SETTINGS).write_text(made.as_json())
    return made


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A run in which each fetch ends as is said."""

    def run(*ends):
        waiting, said = list(ends), []

        def renew(_settings, _source, record):
            end = waiting.pop(0)
            if isinstance(end, Exception):
                raise end
            record.validators = {"If-None-Match": "1"}
            return end

        monkeypatch.setattr(crl_fetch, "_renew", renew)
        return crl_fetch.run(str(tmp_path), said.append), said

    return run


def metrics(tmp_path):
    lines = (tmp_path / "mtls_nginx_crl_fetch.prom").read_text().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_settings_come_back_as_they_were_written(tmp_path):
    watch = heard.Watch(3, ["/usr/bin/notify", "me"])
    made = settings(tmp_path, SOURCE, watch=watch)
    found = crl_fetch.Settings.of(json.loads(made.as_json()))
    assert (found.sources, found.watch, found.metrics) == ([SOURCE], watch, str(tmp_path / "mtls_nginx_crl_fetch.prom"))
    assert settings(tmp_path, SOURCE, textfile=False).metrics is None


def test_what_went_well_and_what_did_not(tmp_path, fetched):
    settings(tmp_path, SOURCE, crl_fetch.Source("other", "http://crl.test/2", "/ca", "/crl", "/r", "/e"))
    well, said = fetched("in place", MtlsError("http://crl.test/2: is a web page"))
    assert (well, said) == (False, ["in place", "http://crl.test/2: is a web page"])
    first, second = crl_records.records(str(tmp_path)).values()
    assert (first.failure, first.validators) == (None, {"If-None-Match": "1"})
    assert (second.success, second.failure) == (None, "http://crl.test/2: is a web page")
    found = metrics(tmp_path)
    assert found["mtls_nginx_crl_fetch_failed"] == "0"
    assert found['mtls_nginx_crl_fetch_failed{authority="other"}'] == "1"
    assert 'mtls_nginx_crl_fetch_last_success_timestamp_seconds{authority="other"}' not in found


def test_after_a_failure_everything_is_asked_for_anew_and_the_last_success_stays(tmp_path, fetched):
    settings(tmp_path, SOURCE)
    fetched("in place")
    success = crl_records.records(str(tmp_path))[""].success
    assert fetched(OSError(28, "No space left on device", "/crl"))[0] is False
    record = crl_records.records(str(tmp_path))[""]
    assert (record.success, record.validators) == (success, {})
    assert record.failure.startswith("/crl: ")


def test_another_address_is_another_source(tmp_path, fetched):
    settings(tmp_path, SOURCE)
    fetched("in place")
    settings(tmp_path, crl_fetch.Source("", "http://new.test/crl.pem", "/ca", "/crl", "/r", "/e"))
    fetched(MtlsError("no"))
    assert crl_records.records(str(tmp_path))[""].success is None


def test_without_a_folder_for_metrics_what_is_remembered_is_all_that_is_written(tmp_path, fetched):
    settings(tmp_path, SOURCE, textfile=False)
    assert fetched("in place") == (True, ["in place"])
    assert crl_records.records(str(tmp_path))[""].failure is None
    assert {path.name for path in tmp_path.iterdir()} == {crl_records.SETTINGS, crl_records.STATE}


def test_without_a_source_the_host_watches_only(tmp_path, fetched):
    settings(tmp_path, watch=heard.Watch(3, ["/nowhere/notify"]))
    (tmp_path / crl_place.HEARD).touch()
    assert fetched() == (True, ["the controller came within the last day"])
    assert set(metrics(tmp_path)) == {"mtls_nginx_last_heard_timestamp_seconds", "mtls_nginx_upkeep_late"}
    (tmp_path / crl_place.HEARD).unlink()
    well, said = fetched()
    assert not well
    assert "heard: no such file or directory" in said[0]


def test_what_cannot_be_remembered_is_said(tmp_path, fetched):
    settings(tmp_path, SOURCE)
    (tmp_path / crl_records.STATE).mkdir()
    well, said = fetched("in place")
    assert well
    assert said[0] == "in place"
    assert said[1].endswith("state.json.new: is a directory")
    assert metrics(tmp_path)["mtls_nginx_crl_fetch_failed"] == "0"


def test_the_exit_status(tmp_path, monkeypatch):
    for well, status in ((True, 0), (False, 1)):
        monkeypatch.setattr(crl_fetch, "run", lambda _folder, _tell, well=well: well)
        assert crl_fetch.main([str(tmp_path)]) == status


def test_settings_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    for text in ("{", "{}", '{"sources": [], "more": 1}'):
        (tmp_path / crl_records.SETTINGS).write_text(text)
        assert crl_fetch.main([str(tmp_path)]) == 1
        assert "the settings cannot be read" in capsys.readouterr().out


def test_what_cron_starts_says_it_to_the_systems_log(tmp_path, capsys, monkeypatch):
    """Cron would send each line by mail."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logged = []
    monkeypatch.setattr(crl_fetch.syslog, "syslog", logged.append)
    assert crl_fetch.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == ""
    (line,) = logged
    assert line.startswith(f"{tmp_path}: the settings cannot be read")


def test_files_that_are_missing_come_from_the_controller(tmp_path):
    paths = {name: str(tmp_path / name) for name in ("ca", "crl", "revoked", "ended")}
    settings(tmp_path, crl_fetch.Source("", "http://127.0.0.1:1/", **paths))
    said = []
    assert not crl_fetch.run(str(tmp_path), said.append)
    assert said == [f"{paths['crl']}: is missing, and only the controller installs the first one; run mtls.nginx.site"]
