# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites that were there before: untouched and served. Then one of them is put behind the gate by its snippet."""

from __future__ import annotations

import http.client
import re

import pytest

each_host = pytest.mark.parametrize("host", ["debian", "el"])
OWN = "/etc/nginx/conf.d/own.conf"


def blog(site, host) -> tuple[int, str]:
    connection = http.client.HTTPConnection(site.addresses[host], 8080, timeout=10)
    connection.request("GET", "/", headers={"Host": "blog.test"})
    response = connection.getresponse()
    return response.status, response.read().decode()


def photos(site, on, host, tmp_path, client=None):
    """The user's own HTTPS site, under the user's own certificate."""
    trust = tmp_path / "own.crt"
    trust.write_text(on(host).file("/etc/ssl/own.crt").content_string)
    return site.ask(host, "photos.test", port=8443, client=client, trust=trust)


@each_host
def test_the_new_service_is_guarded_beside_them(site, host):
    assert site.status(host, "nas.test", client="phone") == 200
    assert [site.status(host, "nas.test", client=client) for client in ("tablet", None)] == [403, 400]


@each_host
def test_the_users_own_sites_are_untouched_and_served(site, on, host, tmp_path):
    assert blog(site, host) == (200, "my blog")
    answer = photos(site, on, host, tmp_path)
    assert (answer.status, answer.body) == (200, "my photos")
    own = on(host).file(OWN)
    assert own.content_string.startswith("# mine\n")
    assert own.mode == 0o640
    # Beside the collection's own files nothing differs but the line in nginx.conf that says it is the collection's.
    changes = on(host).run("diff -r -U0 --no-dereference /root/nginx-before /etc/nginx").stdout.splitlines()
    for change in changes:
        if change.startswith("Only in /etc/nginx"):
            assert re.search(r"mtls|client-certs|server-certs|snippets", change), change
        elif re.match(r"[-+](?![-+])", change):
            assert "mtls.nginx" in change, change


@each_host
def test_the_snippet_guards_the_users_own_block(site, on, host, tmp_path):
    include = "sed -i '/own.key;/a include /etc/nginx/snippets/mtls-photos.conf;'"
    assert on(host).run(f"{include} {OWN} && nginx -t && systemctl reload nginx").rc == 0
    assert photos(site, on, host, tmp_path, client="phone").body == "my photos"
    assert [photos(site, on, host, tmp_path, client=client).status for client in ("tablet", None)] == [403, 400]
    assert blog(site, host) == (200, "my blog")
    assert "changed=0" in site.ok("--limit", host).text
