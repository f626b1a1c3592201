# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_lineages import compare

HOOK = "/etc/nginx/server-certs/acme-deploy-hook"
# As certbot 2.1.0 writes it.
CONF = """\
# renew_before_expiry = 30 days
version = 2.1.0
[renewalparams]
account = 41804bb36a6a137d454be95539274ed9
renew_hook = {hook}
server = {server}
authenticator = webroot
[[webroot_map]]
nas.test = /var/lib/mtls-acme
"""


def test_what_certbot_renews(tmp_path):
    folder = tmp_path / "renewal"
    folder.mkdir()
    for name, hook, server in (
        ("mtls-nas", HOOK, "https://a/dir"),
        ("mtls-staging", HOOK, "https://staging/dir"),
        ("mtls-hookless", "/bin/true", "https://a/dir"),
        ("mtls-gone", HOOK, "https://a/dir"),
        ("mtls-1b2c3d4e-of-another-nginx", "/opt/nginx/server-certs/acme-deploy-hook", "https://a/dir"),
        ("shop.example.com", HOOK, "https://a/dir"),
    ):
        (folder / f"{name}.conf").write_text(CONF.format(hook=hook, server=server))
    (folder / "mtls-folder.conf").mkdir()
    wanted = dict.fromkeys(("mtls-nas", "mtls-staging", "mtls-hookless", "mtls-new"), "https://a/dir")
    assert compare(HOOK, wanted, str(tmp_path)) == {
        "outdated": ["mtls-hookless", "mtls-new", "mtls-staging"],
        "abandoned": ["mtls-gone"],
    }


def test_a_path_that_a_shell_would_split(tmp_path):
    (tmp_path / "renewal").mkdir()
    wanted = {}
    for name, hook in (("mtls-nas", "\"'/etc/my nginx/hook'\""), ("mtls-wiki", "'/etc/my nginx/hook'")):
        (tmp_path / "renewal" / f"{name}.conf").write_text(CONF.format(hook=hook, server="https://a/dir"))
        wanted[name] = "https://a/dir"
    assert compare("/etc/my nginx/hook", wanted, str(tmp_path)) == {"outdated": [], "abandoned": []}


def test_without_certbot(tmp_path):
    assert compare(HOOK, {}, str(tmp_path)) == {"outdated": [], "abandoned": []}
