# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authority a module's options mean, and what must be said for it."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca import access, options
from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


def chosen(backend: str, **settings: object) -> dict[str, object]:
    empty = dict.fromkeys(("ca_pkcs11", "ca_openbao", "ca_trust"))
    return {"ca_path": "/pki", "ca_passphrase": "", "ca_backend": backend, **empty, **settings}


def test_a_directory_needs_no_settings():
    assert Access.of(chosen(options.DIRECTORY)) == Access("/pki", None, options.DIRECTORY, None)


@pytest.mark.parametrize("backend", [options.PKCS11, options.OPENBAO, options.TRUST])
def test_the_others_need_theirs(backend):
    settings = {"url": "https://bao.test"}
    assert Access.of(chosen(backend, **{f"ca_{backend}": settings})).settings == settings
    with pytest.raises(MtlsError, match=f"^/pki: the backend is {backend}; say where it is in mtls_ca_{backend}$"):
        Access.of(chosen(backend))


@pytest.mark.parametrize(
    ("backend", "keeps_its_record_here"),
    [(options.DIRECTORY, True), (options.PKCS11, True), (options.OPENBAO, False), (options.TRUST, False)],
)
def test_what_is_only_for_those_that_keep_their_record_here(backend, keeps_its_record_here):
    meant = Access("/pki", backend=backend)
    if keeps_its_record_here:
        access.require_directory(meant, "an archive")
        return
    with pytest.raises(MtlsError, match=f"^/pki: an archive is for the backends directory and pkcs11, not {backend}$"):
        access.require_directory(meant, "an archive")


def test_what_is_published_is_found_by_the_directory_alone(pki):
    assert b"BEGIN CERTIFICATE" in access.read_authority(str(pki.path)).chain()
