# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority above, which may be in a safe."""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Parent


def test_its_chain_is_read_where_it_is_and_missed_where_it_is_not(pki, tmp_path):
    def opened(read_only: bool):
        raise AssertionError("nobody asked for it")

    assert Parent(str(tmp_path / "safe"), opened).chain is None
    chain = Parent(str(pki.path), opened).chain
    assert [certificate.subject for certificate in chain] == [certificate.issuer for certificate in chain]
    assert len(chain) == 1
