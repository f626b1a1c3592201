# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a snippet protects the server block that includes it, and where it does not."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, snippets
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet

GATE = "# Managed by mtls.nginx\nssl_verify_client on;\nif ($mtls_nas = 0) { return 403; }\n"


@pytest.fixture
def host(tmp_path):
    """A host with the given http block, and our snippet."""
    path = tmp_path / "snippets" / "mtls-nas.conf"
    path.parent.mkdir()
    path.write_text(GATE)

    def make(http):
        (tmp_path / "nginx.conf").write_text(f"http {{ {http} }}\n")
        return nginx_conf.load(str(tmp_path / "nginx.conf")), str(path)

    return make


def unguarded(host, http, **options):
    configuration, path = host(http)
    return [snippet.service for snippet in snippets.included_nowhere(configuration, [Snippet("nas", path, **options)])]


@pytest.mark.parametrize(
    ("http", "missing"),
    [
        ("server { listen 443 ssl; include snippets/mtls-nas.conf; location / { if ($a) { break; } } }", []),
        ("server { include snippets/mtls-nas.conf; return 200; }", []),
        ("server { listen 443 ssl; }", ["nas"]),
        ("include snippets/mtls-nas.conf; server { listen 443 ssl; }", ["nas"]),
        ("server { location / { include snippets/mtls-nas.conf; } }", ["nas"]),
    ],
)
def test_which_server_block_includes_it(host, http, missing):
    assert unguarded(host, http) == missing
    configuration, path = host(http)
    assert snippets.is_included(configuration, path) is (not missing)


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ("server { return 200; include snippets/mtls-nas.conf; }", "'return' in .*nginx.conf, line 1 comes before"),
        ("server { rewrite ^ /a; include snippets/mtls-nas.conf; }", "'rewrite' in .* comes before the snippet"),
        ("server { if ($a) { set $b 1; } include snippets/mtls-nas.conf; }", "'if' in .* comes before the snippet"),
        ("server_rewrite_by_lua_block { } server { include snippets/mtls-nas.conf; }", "'server_rewrite_by_lua_block'"),
        ("server { include snippets/mtls-nas.conf; set $mtls_nas 1; }", r"'set \$mtls_nas' .* would overwrite"),
    ],
)
def test_where_it_protects_nothing(host, http, said):
    with pytest.raises(MtlsError, match=f"service nas: {said}"):
        unguarded(host, http)


@pytest.mark.parametrize(
    ("http", "behind_a_proxy"),
    [
        ("server { listen 443 ssl; include snippets/mtls-nas.conf; }", False),
        ("server { listen 443 ssl proxy_protocol; include snippets/mtls-nas.conf; }", True),
        ("set_real_ip_from 192.0.2.1; server { listen 443 ssl; include snippets/mtls-nas.conf; }", True),
        (
            "server { listen 0.0.0.0:443; include snippets/mtls-nas.conf; } server { listen *:443 proxy_protocol; }",
            True,
        ),
        (
            "server { listen 443 ssl; include snippets/mtls-nas.conf; } server { listen 8443 ssl proxy_protocol; }",
            False,
        ),
    ],
)
def test_exempt_networks_need_to_know_who_asks(host, http, behind_a_proxy):
    assert unguarded(host, http) == []
    if behind_a_proxy:
        with pytest.raises(MtlsError, match="service nas: exempt_networks needs to know who asks"):
            unguarded(host, http, exempt=True)
    else:
        assert unguarded(host, http, exempt=True) == []
