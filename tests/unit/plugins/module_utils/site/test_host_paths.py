# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where files are on a host: at the pinned paths, and each in one place only."""

from __future__ import annotations

import fnmatch

from ansible_collections.mtls.nginx.plugins.module_utils.site import host_paths
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

CONF = "/etc/nginx"
NAS, WIKI, PHOTOS = parse_services(
    "web",
    [
        {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1"},
        {"name": "wiki", "server_names": ["wiki.lan"], "snippet": True, "authority": "/srv/it-dept"},
        {
            "name": "photos",
            "server_names": ["photos.lan"],
            "root": "/srv/www",
            "certificate": {"path": "/own/cert.pem", "key": "/own/key.pem"},
            "state": "absent",
        },
    ],
)


def test_the_hosts_own_authority():
    paths = TrustPaths.of(CONF, "")
    assert paths.files == [
        "/etc/nginx/client-certs/ca.crt",
        "/etc/nginx/client-certs/crl.pem",
        "/etc/nginx/client-certs/revoked.map",
        "/etc/nginx/client-certs/crl-end.map",
    ]
    assert paths.variable == "mtls"


def test_another_authority_has_a_folder_and_variables_of_its_own():
    paths = TrustPaths.of(CONF, WIKI.trust)
    assert (paths.ca, paths.variable) == ("/etc/nginx/client-certs/it-dept/ca.crt", "mtls_it_dept")


def test_trusts_of():
    assert host_paths.trusts_of([NAS, WIKI, NAS]) == ["", "it-dept"]
    assert host_paths.trusts_of([WIKI]) == ["it-dept"]
    assert host_paths.trusts_of([PHOTOS]) == [""]  # absent: the host's own authority only


def test_where_a_services_files_are():
    assert host_paths.gate_files(CONF, NAS)["server_block"] == "/etc/nginx/conf.d/mtls-nas.conf"
    assert host_paths.gate_files(CONF, WIKI)["server_block"] == "/etc/nginx/snippets/mtls-wiki.conf"
    assert host_paths.gate_files(CONF, WIKI)["crl"] == "/etc/nginx/client-certs/it-dept/crl.pem"
    assert host_paths.certificate_paths(CONF, NAS) == (
        "/etc/nginx/server-certs/nas.crt",
        "/etc/nginx/server-certs/nas.key",
    )
    assert host_paths.certificate_paths(CONF, PHOTOS) == ("/own/cert.pem", "/own/key.pem")


def test_certificates_of_the_hosts_own_are_never_ours_to_remove():
    assert not [path for path in host_paths.all_paths(CONF, PHOTOS) if path.startswith("/own/")]


def test_what_we_write_is_ours_by_its_name():
    blocks = [host_paths.conf_path(CONF, NAS), host_paths.snippet_path(CONF, WIKI)]
    assert all(any(fnmatch.fnmatch(path, pattern) for pattern in host_paths.owned(CONF)) for path in blocks)
    assert not any(fnmatch.fnmatch(host_paths.maps_path(CONF), pattern) for pattern in host_paths.owned(CONF))
