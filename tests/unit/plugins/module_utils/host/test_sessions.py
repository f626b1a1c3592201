# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import sessions
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile

from .test_end_dates import ENDS, certificate, crl

FIRST, LAST = ENDS[0], ENDS[-1]


def test_another_ca_or_crl_is_another_cache():
    contents = [(certificate(LAST), crl(FIRST)), (certificate(LAST), crl(ENDS[1])), (certificate(ENDS[2]), crl(FIRST))]
    found = {sessions.lines(*each).decode() for each in contents}
    assert len(found) == len(contents)
    for text in found:
        assert re.search(r"\nssl_session_cache shared:mtls_[0-9a-f]{32}:10m;\n\Z", text)
        assert text.startswith("# Managed by mtls.nginx")
    assert sessions.lines(*contents[0]) in (text.encode() for text in found)


def test_what_one_file_ends_with_is_not_what_the_other_begins_with():
    ca, more = certificate(LAST), b"more"
    assert sessions.lines(ca + more, crl(FIRST)) != sessions.lines(ca, more + crl(FIRST))


@pytest.mark.parametrize(
    ("ca", "crls"),
    [
        (certificate(FIRST), crl(ENDS[1])),
        (certificate(LAST) + certificate(FIRST), crl(ENDS[1]) + crl(ENDS[2])),
        (certificate(LAST), b"junk"),
        (b"", crl(FIRST)),
    ],
    ids=["the CA ends first", "one of them does", "no CRL", "no CA"],
)
def test_nothing_is_kept_that_could_outlive_a_ca(ca, crls):
    assert sessions.lines(ca, crls).endswith(b"\nssl_session_cache off;\n")


def test_a_ca_that_ends_with_the_crl_outlasts_it():
    assert b"ssl_session_cache shared:" in sessions.lines(certificate(FIRST), crl(FIRST))


def test_a_new_crl_brings_its_cache_along_where_there_is_one(tmp_path):
    """The CA is the one that comes with it, or the one that is there."""
    first, second, listed = certificate(LAST), certificate(ENDS[2]), crl(FIRST)
    for name in ("keeps", "none"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.crt").write_bytes(first)
    keeps = tmp_path / "keeps" / "sessions.conf"
    keeps.write_text("old")
    new = [WantedFile(str(tmp_path / name / "crl.pem"), listed) for name in ("keeps", "none")]
    (added,) = sessions.with_sessions(ChangeRequest(wanted=new)).wanted[2:]
    assert added == WantedFile(str(keeps), sessions.lines(first, listed))
    assert sessions.with_sessions(ChangeRequest(wanted=new[::-1])).wanted[2:] == [added]
    ca = WantedFile(str(tmp_path / "keeps" / "ca.crt"), second)
    (added,) = sessions.with_sessions(ChangeRequest(wanted=[*new, ca])).wanted[3:]
    assert added.content == sessions.lines(second, listed)
    for request in (
        ChangeRequest(wanted=[*new, WantedFile(str(keeps), b"the controller's")]),
        ChangeRequest(wanted=new, absent=[str(keeps)]),
        ChangeRequest(wanted=new[1:]),
    ):
        assert sessions.with_sessions(request) is request


def test_a_missing_ca_does_not_keep_a_crl_out(tmp_path):
    (tmp_path / "sessions.conf").write_text("old")
    new = WantedFile(str(tmp_path / "crl.pem"), crl(FIRST))
    _crl, added = sessions.with_sessions(ChangeRequest(wanted=[new])).wanted
    assert added.content.endswith(b"ssl_session_cache off;\n")
