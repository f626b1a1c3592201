# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRL, put where hosts can fetch it."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_publication
from ansible_collections.mtls.nginx.tests.gate import pki
from ansible_collections.mtls.nginx.tests.pages.samples import days_ago


@pytest.fixture
def authority(tmp_path):
    return pki.Authority(tmp_path / "pki", "Devices")


def publish(authority, path, *, check=False):
    return crl_publication.to_file(str(authority.path), str(path), check=check)


def test_a_file_is_written_once(authority, tmp_path):
    path = tmp_path / "www" / "crl" / "crl.pem"
    assert publish(authority, path, check=True)
    assert not path.exists()
    assert publish(authority, path)
    assert path.read_text() == authority.crl
    assert path.stat().st_mode & 0o777 == 0o644
    assert not publish(authority, path)
    authority.revoke(authority.client("phone"))
    assert publish(authority, path)
    assert path.read_text() == authority.crl
    assert os.listdir(path.parent) == ["crl.pem"]


def test_an_older_copy_of_the_authority_publishes_nothing(authority, tmp_path):
    path = tmp_path / "crl.pem"
    old = authority.crl
    authority.revoke(authority.client("phone"))
    publish(authority, path)
    published = path.read_text()
    (authority.path / "crl.pem").write_text(old)
    with pytest.raises(MtlsError, match=r"the controller has CRL 2 .*, which is older"):
        publish(authority, path)
    assert path.read_text() == published


def test_a_crl_that_lacks_what_is_still_valid_is_not_published(authority, tmp_path):
    """As of a directory that was restored from a backup, and has revoked others since."""
    path = tmp_path / "crl.pem"
    authority.client("phone")
    backup = {name: (authority.path / name).read_text() for name in ("index.txt", "crl.pem")}
    authority.revoke(authority.client("phone"))
    publish(authority, path)
    for name, text in backup.items():
        (authority.path / name).write_text(text)
    authority.revoke(authority.client("laptop"))
    with pytest.raises(MtlsError, match=r"lists .* as revoked, and the CRL of .* does not"):
        publish(authority, path)


def test_what_has_expired_may_go_from_a_published_crl(tmp_path):
    path = tmp_path / "crl.pem"
    with days_ago(25):
        authority = pki.Authority(tmp_path / "pki", "Devices")
        authority.revoke(authority.client("phone"))
        path.write_text(authority.crl)
    for age, listed in ((2, 1), (0, 0)):  # it stays on one that begins after the certificate's end
        with days_ago(age), open_directory(str(authority.path), None, read_only=False) as opened:
            assert opened.write_crl(10).entries == listed
        assert publish(authority, path)
        assert path.read_text() == authority.crl


def test_a_program_gets_it(authority, tmp_path):
    path = tmp_path / "copy"
    crl_publication.to_command(str(authority.path), ["tee", str(path)])
    assert path.read_text() == authority.crl


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nowhere/put"], "mtls_crl_publish: /nowhere/put: No such file or directory; give the path of a program"),
        (["sh", "-c", "echo no room; exit 3"], "mtls_crl_publish: sh ended with status 3: no room"),
        (["false"], "mtls_crl_publish: false ended with status 1: it said nothing"),
    ],
)
def test_a_program_that_fails(authority, command, said):
    with pytest.raises(MtlsError) as caught:
        crl_publication.to_command(str(authority.path), command)
    assert str(caught.value).startswith(said)
