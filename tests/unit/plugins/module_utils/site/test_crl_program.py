# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host gets that fetches its CRL: the collection's own files, and what they are told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_fetch, crl_records, heard
from ansible_collections.mtls.nginx.tests.unit.crl_programs import URL, WATCH
from ansible_collections.mtls.nginx.tests.unit.crl_programs import files as made


def settings(files):
    return crl_fetch.Settings.of(json.loads(files[crl_records.SETTINGS]))


def test_it_is_told_where_and_for_which_files():
    (source,) = settings(made()).sources
    assert source == crl_fetch.Source(
        "",
        URL,
        "/etc/nginx/client-certs/ca.crt",
        "/etc/nginx/client-certs/crl.pem",
        "/etc/nginx/client-certs/revoked.map",
        "/etc/nginx/client-certs/crl-end.map",
    )
    assert made()["minutes"] == "20\n"


def test_only_for_authorities_whose_clients_enter():
    urls = {"": URL, "guests": f"{URL}2", "gone": f"{URL}3"}
    assert [source.name for source in settings(made(urls, authority="pki/guests")).sources] == ["guests"]


def test_nothing_without_an_address_or_a_service():
    assert made({}) is None
    assert made(state="absent") is None
    assert made(state="absent", watch=WATCH) is None


@pytest.mark.parametrize("url", ["crl.pem", "ftp://a/crl.pem", "https://a/c rl", "https://a/ñ", "http://a/\n"])
def test_an_address_that_is_none(url):
    with pytest.raises(MtlsError, match=r"mtls_crl_url: .* is not an address"):
        made({"": url})


def test_whom_to_tell():
    files = made({}, watch=WATCH)
    assert (settings(files).sources, settings(files).watch) == ([], WATCH)
    assert settings(made()).watch is None


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        (heard.Watch(3, ["notify"]), "begins with the full path of a program"),
        (heard.Watch(3, []), "begins with the full path of a program"),
        (heard.Watch(0, ["/bin/true"]), "mtls_upkeep_warn_days: is 0"),
    ],
)
def test_nobody_that_could_be_told(watch, said):
    with pytest.raises(MtlsError, match=said):
        made(watch=watch)


def test_the_program_needs_nothing_but_python(tmp_path):
    for name, text in made().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-I", "-S", "-B", tmp_path / "program", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"JOURNAL_STREAM": "8:1"})
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("/etc/nginx/client-certs/crl.pem: is missing")
