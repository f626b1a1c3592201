# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate by its fingerprint, among all that were issued."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import issued


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_by_either_fingerprint(pki, algorithm):
    serial = pki.one(Client("a")).entry.serial
    pki.one(Client("b"))
    (pki.path / "newcerts" / "stray.pem").write_text("no certificate")
    der = ssl.PEM_cert_to_DER_cert(pki.file("a", ".crt").read_text())
    fingerprint = hashlib.new(algorithm, der).hexdigest()
    folder = str(pki.path / "newcerts")

    assert issued.find_by_fingerprint(folder, fingerprint) == serial
    assert issued.find_by_fingerprint(folder, "0" * len(fingerprint)) is None


def test_where_an_external_ca_keeps_them(tmp_path):
    assert issued.find_by_fingerprint(str(tmp_path / "newcerts"), "0" * 40) is None
