# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that no host has a say in."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import refuse_own_names


@pytest.mark.parametrize(
    "name",
    [
        "mtls_ca_dir",
        "mtls__crl_only",
        "mtls_",
        "mtls_any\nthing\x1b",
        "vault_mtls_ca_passphrase",
        "inventory_dir",
        "inventory_file",
    ],
)
def test_facts_that_hold_a_name_of_ours_are_refused(name):
    facts = {"distribution": "Debian", name: "{{ lookup('pipe', 'true') }}"}
    with pytest.raises(MtlsError, match=r"host nas: its facts hold .*--flush-cache forgets cached facts") as caught:
        refuse_own_names("nas", {"ansible_facts": facts})
    assert str(caught.value).isprintable()


def test_others_are_nothing_to_us():
    names = ("distribution", "mtls", "my_mtlsx", "inventory_dirs", "mounts", "local", "discovered_interpreter_python")
    refuse_own_names("nas", {"ansible_facts": dict.fromkeys(names)})
    refuse_own_names("nas", {"ansible_facts": {}, "mtls_ca_dir": "pki", "inventory_dir": "/srv"})
    refuse_own_names("nas", {})
