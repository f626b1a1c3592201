# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of `nginx_config` as the host's code takes them."""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet, Textfile, textfile_from


def test_textfile():
    options = {
        "path": "/var/lib/metrics/mtls_nginx.prom",
        "authorities": [{"name": "", "ca": "/ca.crt", "crl": "/crl.pem"}],
        "certificates": [{"service": "nas", "path": "/nas.crt"}],
    }
    assert textfile_from(options) == Textfile(options["path"], [("", "/ca.crt", "/crl.pem")], [("nas", "/nas.crt")])
    assert textfile_from(None) is None


def test_a_snippet_says_which_line_is_missing():
    warning = Snippet("photos", "/etc/nginx/snippets/mtls-photos.conf").warning
    assert warning.startswith("service photos: no server block includes /etc/nginx/snippets/mtls-photos.conf")
    assert "'include /etc/nginx/snippets/mtls-photos.conf;'" in warning
