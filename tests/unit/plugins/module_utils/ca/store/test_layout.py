# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of ``openssl ca``: completed where something is missing, never started over where something is lost."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import tree

ALL = ["newcerts", "clients", "servers", "openssl.cnf", "serial", "crlnumber", "index.txt", "index.txt.attr"]


@pytest.fixture
def place(tmp_path):
    return Layout(str(tmp_path))


def test_an_empty_directory_becomes_complete_and_stays_so(place, tmp_path):
    assert layout.missing(place) == ALL
    assert layout.complete(place, 30) == ALL
    assert layout.missing(place) == []
    before = tree(tmp_path)
    assert layout.complete(place, 30) == []
    assert tree(tmp_path) == before
    assert {oct(mode & 0o777) for path, (_content, mode) in before.items() if path != str(tmp_path)} == {
        "0o600",
        "0o700",
    }


@pytest.mark.parametrize("name", ["openssl.cnf", "serial", "newcerts", "clients", "servers", "index.txt.attr"])
def test_one_thing_that_is_missing_comes_back(pki, name):
    path = pki.path / name
    path.rmdir() if path.is_dir() else path.unlink()

    assert layout.complete(Layout(str(pki.path)), 30) == [name]
    pki.ca("-gencrl", "-out", "crl.pem")


@pytest.mark.parametrize("witness", ["newcerts/01.pem", "crl.pem", "index.txt.attr", "crlnumber"])
def test_a_lost_index_is_not_started_over(place, tmp_path, witness):
    (tmp_path / witness).parent.mkdir(exist_ok=True)
    (tmp_path / witness).write_text("something")
    before = tree(tmp_path)

    with pytest.raises(MtlsError, match=r"is missing, although .* shows that there was one; restore it from a backup"):
        layout.complete(place, 30)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("index", "serial"), [("", None), ("V\t301231000000Z\t\t1003\tunknown\t/CN=a\n", 0x1004)], ids=["new", "counted"]
)
def test_serials_are_counted_on_only_where_they_were_counted(place, tmp_path, index, serial):
    if index:
        (tmp_path / "index.txt").write_text(index)
    layout.complete(place, 30)
    found = int((tmp_path / "serial").read_text(), 16)

    assert found == serial if serial else found.bit_length() == 71
    assert ("rand_serial = yes" in (tmp_path / "openssl.cnf").read_text()) is (serial is None)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("unique_subject = no\n", True),
        ("unique_subject=no", True),
        ("unique_subject = yes\n", False),
        ("# unique_subject = no\n", False),
        ("", False),
    ],
)
def test_whether_two_certificates_may_share_a_subject(place, tmp_path, text, allowed):
    (tmp_path / "index.txt.attr").write_text(text)
    assert layout.allows_renewals(place) is allowed
    layout.allow_renewals(place)
    assert layout.allows_renewals(place)


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
def test_what_cannot_be_a_path(path):
    with pytest.raises(MtlsError, match="cannot be the authority's directory; correct the path"):
        layout.check_path(path)


def test_former_certificates_of_a_client_and_of_no_other(tmp_path):
    files = ClientFiles.of(str(tmp_path), "pat")
    assert files.archived_certificates() == []
    (tmp_path / "pat").mkdir()
    for name in ("pat.crt", "pat-01.crt", "pat-01.key", "pat-0A.crt", "patricia-01.crt"):
        (tmp_path / "pat" / name).touch()

    assert files.archived_certificates() == [f"{tmp_path}/pat/pat-01.crt", f"{tmp_path}/pat/pat-0A.crt"]


def test_the_directories_of_holders_and_no_links(pki, tmp_path):
    place = Layout(str(pki.path))
    (pki.path / "clients" / "a").mkdir()
    (pki.path / "clients" / "elsewhere").symlink_to(tmp_path)

    assert place.holders() == [place.clients, f"{place.clients}/a", place.servers]
