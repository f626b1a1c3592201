# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Line ends are no content: git with autocrlf makes those of Windows of all that is text."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_published
from ansible_collections.mtls.nginx.tests.unit.support import openssl, tree


def with_crlf(directory) -> None:
    """Give every text file below ``directory`` the line ends of Windows, as git does with autocrlf."""
    for path in directory.rglob("*"):
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            status = path.stat()
            path.write_bytes(content.replace(b"\n", b"\r\n"))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_line_ends_are_not_content(pki):
    pki.serve(Client("phone"), Client("pad", {"O": "Acme", "CN": "pad"}), Client("gone"))
    pki.serve(Client("gone", revoked=True))
    with pki.open() as authority:
        authority.write_crl(30)
    before = read_published(str(pki.path))
    facts = {name: [(one.serial, one.dn) for one in before.holders(name)] for name in ("phone", "pad", "gone")}
    chain, crl = before.chain(), before.crl()
    with_crlf(pki.path)
    after = read_published(str(pki.path))
    assert {name: [(one.serial, one.dn) for one in after.holders(name)] for name in facts} == facts
    assert (after.chain(), after.crl(), after.crl_as_it_is()) == (chain, crl, crl)
    assert [after.record.is_valid(facts[name][0][0]) for name in ("phone", "pad", "gone")] == [True, True, False]


def test_a_client_whose_record_has_other_line_ends_is_revoked(pki):
    serial = pki.one(Client("phone")).entry.serial
    shutil.rmtree(pki.path / "clients")  # the record is all that was kept
    with_crlf(pki.path)
    assert [stray.name for stray in pki.serve(Client("pad"), check=True).unmanaged] == ["phone"]
    result = pki.one(Client("phone", revoked=True))
    assert (result.action, result.revoked) == ("revoked", (serial,))
    with pki.open() as authority:
        authority.write_crl(30)
    assert serial in openssl("crl", "-in", "crl.pem", "-noout", "-text", cwd=pki.path)


def test_after_a_checkout_with_other_line_ends_nothing_is_made_anew(pki):
    wanted = (Client("phone"), Client("pad", p12="none"))
    first = [result.entry.serial for result in pki.serve(*wanted).results]
    with_crlf(pki.path)
    again = pki.serve(*wanted).results
    assert [(result.action, result.entry.serial) for result in again] == [("unchanged", serial) for serial in first]
    before = tree(pki.path)
    assert [result.action for result in pki.serve(*wanted).results] == ["unchanged", "unchanged"]
    assert tree(pki.path) == before


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_a_client_is_renewed_and_openssl_goes_on(pki, check):
    pki.one(Client("phone"))
    with_crlf(pki.path)
    assert pki.one(Client("phone", days=400, renew_before=380), check=check).action == "renewed"
    if not check:
        request = pki.csr("by-hand")
        pki.ca("-in", request, "-out", "by-hand.crt")
        subprocess.run(["openssl", "verify", "-CAfile", "ca.crt", "by-hand.crt"], cwd=pki.path, check=True)
        assert [row[0] for row in pki.index()] == ["V", "V", "V"]
