# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each platform keeps its public CAs."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import system_ca


@pytest.mark.parametrize("place", ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"])
def test_the_bundle(tmp_path, place):
    assert system_ca.bundle(str(tmp_path)) is None
    bundle = tmp_path / place[1:]
    bundle.mkdir(parents=True)  # a folder is none
    assert system_ca.bundle(str(tmp_path)) is None
    bundle.rmdir()
    bundle.write_text("")
    assert system_ca.bundle(str(tmp_path)) == place
