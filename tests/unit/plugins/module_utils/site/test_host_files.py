# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a host gets and what is in them; that nginx understands them is the integration tests' business."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import re
import tempfile

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_files import (
    crl_files,
    host_files,
    to_compare,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import (
    CrlServer,
    NginxHost,
    hash_advice,
    split_upstream,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Credential, Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.authorities import new_authority

TEMPLATES = str(pathlib.Path(__file__).parents[5] / "roles" / "server" / "templates")
NAS = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:5000", "allow": ["phone"]}


@functools.cache
def authority():
    """Certificate and CRL."""
    with tempfile.TemporaryDirectory() as folder:
        new_authority(folder, {"CN": "Test"}, days=10, crl_days=5)
        return tuple(pathlib.Path(folder, name).read_text(encoding="ascii") for name in ("ca.crt", "crl.pem"))


def crl():
    return authority()[1]


def render(
    *services,
    version=(1, 22, 1),
    ipv6=True,
    dns=None,
    timeout=None,
    textfile_dir=None,
    error_pages=True,
    error_page_template=None,
    system_ca=None,
    kept=None,
    **directives,
):
    paths = "/etc/nginx/nginx.conf", "/var/log/nginx"
    pages = error_pages, error_page_template
    host = NginxHost(
        version, ipv6, *paths, directives, timeout, textfile_dir, *pages, system_ca=system_ca, kept=kept or {}
    )
    parsed = parse_services("web", services)
    credentials = {service.name: Credential("CERTIFICATE", "KEY") for service in parsed}
    clients = {name: [dn] for name, dn in ({"phone": "CN=phone"} if dns is None else dns).items()}
    comers = {service.name: Credential("CLIENT CERTIFICATE", "CLIENT KEY") for service in parsed}
    published = Publication(*authority(), clients, {}, credentials, comers)
    cas = {service.name: "UPSTREAM CA" for service in parsed if service.upstream_tls and service.upstream_tls.ca}
    return host_files(host, parsed, {"": published}, TEMPLATES, upstream_cas=cas)


def content(files, path):
    return next(item["content"] for item in files.files if item["path"] == path)


def maps(*services, **host):
    return content(render(*services, **host), "/etc/nginx/conf.d/mtls.conf")


def block(*services, **host):
    return content(render(*services, **host), f"/etc/nginx/conf.d/mtls-{services[0]['name']}.conf")


def test_the_files_of_a_host():
    files = render(NAS)
    assert [item["path"] for item in files.files] == [
        "/etc/nginx/client-certs/ca.crt",
        "/etc/nginx/client-certs/crl.pem",
        "/etc/nginx/client-certs/revoked.map",
        "/etc/nginx/client-certs/crl-end.map",
        "/etc/nginx/conf.d/mtls.conf",
        "/etc/nginx/client-certs/pages.conf",
        "/etc/nginx/conf.d/mtls-nas.conf",
        "/etc/nginx/server-certs/nas.crt",
    ]
    assert files.secrets == [{"path": "/etc/nginx/server-certs/nas.key", "content": "KEY"}]
    assert files.absent == [
        "/etc/nginx/client-certs/renewal-pages.conf",
        "/etc/nginx/server-certs/acme-deploy-hook",
        "/etc/nginx/snippets/mtls-nas.conf",
        "/etc/nginx/mtls-upstream/nas.ca.crt",
        "/etc/nginx/mtls-upstream/nas.crt",
        "/etc/nginx/mtls-upstream/nas.key",
        "/etc/nginx/client-certs/renewals.map",
        "/etc/nginx/client-certs/sessions.conf",
    ]
    assert files.renewals == {"folder": "/etc/nginx/client-renewals", "files": [], "stay": []}
    assert files.probes == [{"address": "127.0.0.1", "port": 443, "server_name": "nas.lan", "expect": 400}]
    assert "KEY" not in "".join(item["content"] for item in files.files)


@pytest.mark.parametrize("textfile_dir", [None, "/var/lib/textfiles"])
@pytest.mark.parametrize("timeout", [None, 0, 60])
@pytest.mark.parametrize("change", [{}, {"state": "absent"}, {"upstream": None, "snippet": True}])
def test_what_a_host_is_asked_before_its_files_are_made(change, timeout, textfile_dir):
    services = [{**NAS, **change}, {**NAS, "name": "old", "server_names": ["old.lan"], "state": "absent"}]
    wanted = render(*services, timeout=timeout, textfile_dir=textfile_dir)
    asked = to_compare("/etc/nginx", parse_services("web", services), timeout, textfile_dir)
    paths, folder = asked.pop("paths"), asked.pop("renewals")
    del asked["certificates"], asked["acme"]  # own_certificates.py
    assert len(paths) == len(set(paths))
    assert {*paths, folder} == {*wanted.fingerprints()}
    assert folder == wanted.renewals["folder"]
    assert {name: wanted.as_options()[name] for name in asked} == asked


def test_what_is_looked_at_where_it_is_included():
    """Snippets, by the names for which they are asked, and blocks that need to know who asks."""
    near = {"exempt_networks": ["192.168.1.0/24"]}
    others = [
        {**NAS, "name": "a", "server_names": ["a", "*.b"], "upstream": None, "snippet": True},
        {**NAS, "name": "b", "server_names": ["c"], "upstream": None, "snippet": True, **near},
        {**NAS, "name": "c", "server_names": ["d"], **near},
        {**NAS, "name": "d", "server_names": ["e"], "listen": 8443, **near, "proxy_protocol_from": ["10.0.0.9"]},
        {**NAS, "name": "e", "server_names": ["f"], "upstream": None, "snippet": True, "state": "absent"},
        {**NAS, "name": "f", "server_names": ["g"], **near, "state": "absent"},
    ]
    assert to_compare("/etc/nginx", parse_services("web", [NAS, *others]), None, None)["snippets"] == [
        {"service": "a", "path": "/etc/nginx/snippets/mtls-a.conf", "exempt": False, "server_names": ["a", "*.b"]},
        {"service": "b", "path": "/etc/nginx/snippets/mtls-b.conf", "exempt": True, "server_names": ["c"]},
        {"service": "c", "path": "/etc/nginx/conf.d/mtls-c.conf", "exempt": True, "server_names": []},
    ]


def test_fingerprints_are_those_of_the_files():
    found = render(NAS).fingerprints()
    assert found["/etc/nginx/server-certs/nas.key"] == f"0600 {hashlib.sha256(b'KEY').hexdigest()}"
    assert found["/etc/nginx/client-certs/ca.crt"] == f"0644 {hashlib.sha256(authority()[0].encode()).hexdigest()}"
    assert found["/etc/nginx/snippets/mtls-nas.conf"] is None


BACKEND = {**NAS, "upstream": "https://backend.lan:8443"}


def test_the_files_for_an_upstream_with_tls():
    tls = {"verify": True, "ca": "files/backend-ca.crt", "name": None, "client": "nas-to-backend"}
    files = render({**BACKEND, "upstream_tls": tls})
    assert content(files, "/etc/nginx/mtls-upstream/nas.ca.crt") == "UPSTREAM CA"
    assert content(files, "/etc/nginx/mtls-upstream/nas.crt") == "CLIENT CERTIFICATE"
    assert {"path": "/etc/nginx/mtls-upstream/nas.key", "content": "CLIENT KEY"} in files.secrets
    assert not [path for path in files.absent if "mtls-upstream" in path]
    text = content(files, "/etc/nginx/conf.d/mtls-nas.conf")
    assert "proxy_ssl_trusted_certificate /etc/nginx/mtls-upstream/nas.ca.crt;" in text
    assert "proxy_ssl_name           backend.lan;" in text
    # The files stay as long as they are meant, and no longer.
    files = render({**BACKEND, "upstream_tls": {"verify": False, "ca": None, "name": None, "client": None}})
    assert len([path for path in files.absent if "mtls-upstream" in path]) == 3
    assert "proxy_ssl_verify         off;" in content(files, "/etc/nginx/conf.d/mtls-nas.conf")


def test_the_public_cas_of_the_host():
    tls = {"verify": True, "ca": "system", "name": None, "client": None}
    text = block({**BACKEND, "upstream_tls": tls}, system_ca="/etc/ssl/certs/ca-certificates.crt")
    assert "proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;" in text
    with pytest.raises(MtlsError, match="service nas: upstream_tls: ca: system, and this host has no bundle"):
        render({**BACKEND, "upstream_tls": tls})


POOL = {**NAS, "upstream": "https://pool"}
VERIFIED = {"verify": True, "ca": "ca.crt", "name": "a.lan", "client": None}
ANYBODY = {"verify": False, "ca": None, "name": None, "client": None}


@pytest.mark.parametrize(
    ("kept", "one", "other", "refused"),
    [
        ({}, VERIFIED, ANYBODY, False),
        ({"pool": False}, VERIFIED, VERIFIED, False),
        ({"pool": True}, VERIFIED, VERIFIED, True),
        ({"pool": False}, VERIFIED, ANYBODY, True),
        ({"pool": False}, ANYBODY, {**ANYBODY, "client": "phone"}, True),
        ({"pool": True}, ANYBODY, ANYBODY, False),
        ({"another": True}, VERIFIED, ANYBODY, False),
    ],
)
def test_connections_that_others_have_opened(kept, one, other, refused):
    services = [{**POOL, "upstream_tls": one}, {**POOL, "name": "b", "server_names": ["b.lan"], "upstream_tls": other}]
    if not refused:
        render(*services, kept=kept)
        return
    with pytest.raises(MtlsError, match="service nas: upstream_tls: its upstream block pool has keepalive and is used"):
        render(*services, kept=kept)


def test_an_absent_service_takes_all_of_its_files_along_and_nothing_else():
    files = render({**NAS, "state": "absent"})
    assert sorted(files.absent) == [
        "/etc/nginx/client-certs/pages.conf",
        "/etc/nginx/client-certs/renewal-pages.conf",
        "/etc/nginx/client-certs/renewals.map",
        "/etc/nginx/client-certs/sessions.conf",
        "/etc/nginx/conf.d/mtls-nas.conf",
        "/etc/nginx/mtls-upstream/nas.ca.crt",
        "/etc/nginx/mtls-upstream/nas.crt",
        "/etc/nginx/mtls-upstream/nas.key",
        "/etc/nginx/server-certs/acme-deploy-hook",
        "/etc/nginx/server-certs/nas.crt",
        "/etc/nginx/server-certs/nas.key",
        "/etc/nginx/snippets/mtls-nas.conf",
    ]
    assert files.secrets == []
    assert files.probes == []
    assert "mtls_nas_" not in content(files, "/etc/nginx/conf.d/mtls.conf")


def test_a_service_that_changes_its_kind_leaves_nothing_behind():
    own = {"path": "/etc/ssl/a.crt", "key": "/etc/ssl/a.key"}
    assert "/etc/nginx/server-certs/nas.key" in render({**NAS, "certificate": own}).absent
    snippet = {"name": "nas", "server_names": ["nas.lan"], "snippet": True}
    assert "/etc/nginx/conf.d/mtls-nas.conf" in render(snippet).absent


@pytest.mark.parametrize(("asked", "sent"), [(None, None), (True, True), (False, False)])
def test_systemd_starts_nginx_again_as_long_as_there_is_a_service(asked, sent):
    services = parse_services("web", [NAS])
    gone = parse_services("web", [{**NAS, "state": "absent"}])
    assert to_compare("/etc/nginx", services, None, None, restart=asked)["restart"] is sent
    assert to_compare("/etc/nginx", gone, None, None, restart=asked)["restart"] is (None if asked is None else False)


def test_connections_from_before_are_bounded_as_long_as_there_is_a_service():
    assert render(NAS).shutdown_timeout is None
    assert render(NAS, timeout=60).shutdown_timeout == 60
    assert render({**NAS, "state": "absent"}, timeout=60).shutdown_timeout == 0


@pytest.mark.parametrize(
    ("bound", "own", "expected"),
    [(60, None, None), (5, None, "5s"), (60, "2m", "60s"), (5, "4s", None), (0, "2m", None), (None, "2m", None)],
)
def test_half_a_request_waits_no_longer_than_the_bound(bound, own, expected):
    text = block(NAS, timeout=bound, client_header_timeout=own)
    found = re.search(r"client_header_timeout (\w+);", text)
    assert (found and found[1]) == expected


def test_end_dates_of_what_the_host_has():
    assert render(NAS).textfile is None
    own = {"path": "/etc/ssl/a.crt", "key": "/etc/ssl/a.key"}
    snippet = {"name": "photos", "server_names": ["photos.lan"], "snippet": True}
    other = {**NAS, "name": "own", "server_names": ["own.lan"], "certificate": own}
    textfile = render(NAS, other, snippet, textfile_dir="/var/lib/textfiles").textfile
    assert textfile == {
        "path": "/var/lib/textfiles/mtls_nginx.prom",
        "authorities": [{"name": "", "ca": "/etc/nginx/client-certs/ca.crt", "crl": "/etc/nginx/client-certs/crl.pem"}],
        "certificates": [
            {"service": "nas", "path": "/etc/nginx/server-certs/nas.crt"},
            {"service": "own", "path": "/etc/ssl/a.crt"},
            {"service": "own", "path": "/etc/nginx/server-certs/own.crt"},
        ],
    }


def test_where_clients_renew_there_is_a_map_of_their_certificates():
    files = render({**NAS, "self_renewal": True})
    assert content(files, "/etc/nginx/client-certs/renewals.map") == ""
    assert "include /etc/nginx/client-certs/renewals.map;" in content(files, "/etc/nginx/conf.d/mtls.conf")
    pages = content(files, "/etc/nginx/client-certs/renewal-pages.conf")
    assert nginx_conf.is_managed(pages.encode())
    assert "There is nothing to do" in pages
    assert "location = /.mtls/renewal.p12 {" in content(files, "/etc/nginx/conf.d/mtls-nas.conf")
    off = render(NAS)
    assert "renewal" not in "".join(item["content"] for item in off.files)


def test_a_crl_alone():
    alone = crl_files("/etc/nginx", parse_services("web", [NAS]), {"": crl()}, "/var/lib/textfiles")
    assert [item["path"] for item in alone.files] == [
        "/etc/nginx/client-certs/crl.pem",
        "/etc/nginx/client-certs/revoked.map",
        "/etc/nginx/client-certs/crl-end.map",
    ]
    assert alone.textfile["authorities"][0]["crl"] == "/etc/nginx/client-certs/crl.pem"
    assert alone.renewals is None
    assert {*alone.fingerprints()} == {item["path"] for item in alone.files}  # what waits for clients is not judged
    assert (alone.secrets, alone.absent, alone.owned, alone.probes, alone.shutdown_timeout) == ([], [], [], [], None)


def test_http2_in_the_words_of_each_nginx():
    assert "listen 443 ssl http2;" in block(NAS, version=(1, 25, 0))
    new = block(NAS, version=(1, 25, 1))
    assert "listen 443 ssl;" in new
    assert "http2 on;" in new


def test_no_ipv6_socket_where_the_host_can_open_none():
    assert "listen [::]:443 ssl http2;" in block(NAS)
    assert "[::]" not in block(NAS, ipv6=False)


def test_a_service_by_address_is_the_first_of_its_socket():
    by_address = {**NAS, "server_names": ["192.0.2.7"]}
    assert "listen 443 ssl http2 default_server;" in block(by_address)
    assert re.search(r'map \$ssl_server_name \$mtls_nas_sni \{[^}]*"" 1;', maps(by_address))
    assert '"" 1;' not in maps(NAS)


def test_a_subject_is_written_into_the_map_as_nginx_writes_it():
    text = maps(NAS, dns={"phone": r"CN=a\"b\\c\, d,O=x"})
    assert r'"SUCCESS:CN=a\\\"b\\\c\, d,O=x" 1;  # phone' in text


def test_a_client_that_is_revoked_gets_no_line():
    text = maps({**NAS, "allow": ["phone", "lost"]})
    assert '"SUCCESS:CN=phone" 1;' in text
    assert "lost" not in text


def test_an_empty_allow_list_lets_nobody_in():
    text = maps({**NAS, "allow": []})
    assert "default 0;\n}" in text
    assert " 1;" not in text.split("$mtls_nas_list {")[1].split("}")[0]


def test_without_public_paths_a_certificate_is_asked_of_everybody():
    assert "ssl_verify_client      on;" in block(NAS)
    assert "ssl_verify_client      optional;" in block({**NAS, "public_paths": ["/open/"]})


def test_a_public_path_reaches_the_upstream_as_nginx_normalised_it():
    text = block({**NAS, "public_paths": ["/open/", "/exact"], "upstream": "http://127.0.0.1:5000/app/"})
    assert re.search(r"location \^~ /open/ \{[^}]*proxy_pass http://127.0.0.1:5000/app/open/;", text)
    assert re.search(r"location = /exact \{[^}]*proxy_pass http://127.0.0.1:5000/app/exact;", text)
    assert re.search(r"location / \{[^}]*proxy_pass http://127.0.0.1:5000/app/;", text)


def test_every_location_that_passes_requests_on_sets_every_header():
    text = block({**NAS, "public_paths": ["/open/"]})
    assert text.count("proxy_pass") == 3
    # One of its own would make a location lose all that it inherits.
    head, *locations = text.split("    location ")
    assert "proxy_set_header" not in "".join(locations)
    for header in ("Verify", "DN", "Serial", "Fingerprint"):
        assert head.count(f"proxy_set_header X-SSL-Client-{header} ") == 1


@pytest.mark.parametrize(
    ("length", "directives", "size"),
    [
        (38, {}, None),  # with "SUCCESS:" 46 characters, the most that fit by default (measured)
        (39, {}, 128),
        (102, {}, 128),
        (103, {}, 256),
        (300, {}, 512),
        (300, {"map_hash_bucket_size": "512"}, None),
    ],
)
def test_the_hash_bucket_grows_with_the_longest_subject(length, directives, size):
    text = maps(NAS, dns={"phone": "x" * length}, **directives)
    found = re.search(r"^map_hash_bucket_size (\d+);", text, re.MULTILINE)
    assert (int(found[1]) if found else None) == size


def test_only_what_the_authority_has_issued():
    text = maps(NAS)
    assert '    "CN=Test" 0;\n' in text[text.index("map $ssl_client_i_dn") :]
    assert "ssl_verify_depth       0;" in block(NAS)


def test_nothing_is_guarded_where_there_are_no_services():
    files = render()
    assert len(files.files) == 5
    assert "$mtls_connection" in content(files, "/etc/nginx/conf.d/mtls.conf")


def test_a_wildcard_name_matches_what_nginx_takes_for_it_and_nothing_else():
    text = maps({**NAS, "server_names": ["*.wild.lan"]})
    pattern = re.compile(
        re.search(r'"~\*(.*wild.*)" 1;', text)[1].replace("\\\\", "\\").replace(r"\z", r"\Z"), re.IGNORECASE
    )
    assert all(pattern.match(name) for name in ("a.wild.lan", "b.a.wild.lan", "A.WILD.LAN", "a.wild.lan."))
    assert not any(
        pattern.match(name)
        for name in ("wild.lan", "a..wild.lan", "other:a.wild.lan", "a/b.wild.lan", "a.wild.lan.x", ".wild.lan")
    )


def test_sessions_are_refused_where_one_server_block_may_take_anothers():
    assert "$ssl_session_reused = r" in block(NAS, version=(1, 18, 0))
    assert "$ssl_session_reused" not in block(NAS)
    assert "ssl_conf_command" not in block(NAS, version=(1, 18, 0))
    assert "ssl_conf_command       Options -SessionTicket;" in block(NAS)


LISTED = {
    **NAS,
    "allow": ["phone", "tablet"],
    "paths": [{"path": "/a/", "allow": ["phone"]}, {"path": "/a/b/", "allow": ["phone", "desk"]}],
}


def test_each_list_of_a_service_is_in_the_map():
    text = maps(LISTED, dns={name: f"CN={name}" for name in ("phone", "tablet", "desk")})
    keys = re.findall(r'^    "((?:rest|every|p\d):SUCCESS:.*)" 1;', text, re.MULTILINE)
    assert keys == [
        "rest:SUCCESS:CN=phone",
        "rest:SUCCESS:CN=tablet",
        "p0:SUCCESS:CN=phone",
        "p1:SUCCESS:CN=phone",
        "p1:SUCCESS:CN=desk",
        "every:SUCCESS:CN=phone",
    ]
    assert text.index("/a/b(?:") < text.index("/a(?:")


def test_the_hash_bucket_counts_the_lists_names():
    assert "map_hash_bucket_size 128;" in maps(LISTED, dns={"phone": "x" * 33})
    assert "map_hash_bucket_size" not in maps(NAS, dns={"phone": "x" * 33})


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ("http://127.0.0.1:5000", ("http://127.0.0.1:5000", "")),
        ("http://127.0.0.1:5000/", ("http://127.0.0.1:5000", "")),
        ("https://[::1]:5000/app/x/", ("https://[::1]:5000", "/app/x")),
        ("http://unix:/run/app.sock", ("http://unix:/run/app.sock", "")),
    ],
)
def test_an_upstream_and_its_path(upstream, expected):
    assert split_upstream(upstream) == expected


def test_a_socket_with_public_paths():
    text = block({**NAS, "upstream": "http://unix:/run/app.sock", "public_paths": ["/open/"]})
    assert re.findall(r"proxy_pass (.*);", text) == [
        "http://unix:/run/app.sock:/open/",
        "http://unix:/run/app.sock",
        "http://unix:/run/app.sock",
    ]


def test_error_pages_can_be_left_out():
    assert "/etc/nginx/client-certs/pages.conf" not in render(NAS).absent
    without = render(NAS, error_pages=False)
    assert "/etc/nginx/client-certs/pages.conf" in without.absent
    text = content(without, "/etc/nginx/conf.d/mtls-nas.conf")
    assert re.findall(r"(?m)^ *(error_page .*)$", text) == ["error_page 444 /;"]  # in place of the http block's
    assert "pages.conf" not in content(without, "/etc/nginx/conf.d/mtls.conf")


def test_a_snippet_has_no_error_pages():
    snippet = {"name": "nas", "server_names": ["nas.lan"], "snippet": True, "public_paths": ["/open/"]}
    files = render(snippet)
    assert "/etc/nginx/client-certs/pages.conf" in files.absent
    assert "error_page" not in content(files, "/etc/nginx/snippets/mtls-nas.conf")


def test_a_page_of_ones_own(tmp_path):
    template = tmp_path / "page.html"
    template.write_text('<h1 class="a-b">{{ title }}</h1>{{ "é" * 5000 }}\\{{ reason }}{{ text[0] }}', encoding="utf-8")
    pages = content(render(NAS, error_page_template=str(template)), "/etc/nginx/client-certs/pages.conf")
    assert r"<h1 class=\"a-b\">" in pages
    # nginx reads no word of 4096 bytes or more.
    assert max(len(piece.encode()) for piece in re.findall(r'default ("(?:[^"\\]|\\.)*");', pages)) < 4096


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ titel }}", "'titel' is undefined"),
        ("{% if %}", "line 1"),
        (" ", "empty"),
        ("x" * 300_000, "larger than 256 KiB"),
        ("a\0b", "NUL"),
        ("5 $", "&#36;"),
        ("{{ title.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ ''.format.__globals__ }}", "unsafe"),
        ("{{ '{0.__class__.__mro__}'.format(title) }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "unsafe"),
        ("{{ self._TemplateReference__context.environment }}", "unsafe"),
        ("{% for one in range(10**9) %}{% endfor %}", "range"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "holds a private key"),
    ],
)
def test_a_template_that_is_none(tmp_path, text, said):
    template = tmp_path / "page.html"
    template.write_text(text)
    with pytest.raises(MtlsError, match="mtls_error_page_template") as caught:
        render(NAS, error_page_template=str(template))
    assert said in str(caught.value)


def test_a_template_that_is_not_there(tmp_path):
    with pytest.raises(MtlsError, match="No such file or directory; name a readable HTML file"):
        render(NAS, error_page_template=str(tmp_path / "none.html"))


def test_exempt_networks_need_to_know_who_asks():
    near = {**NAS, "exempt_networks": ["192.168.1.0/24"]}
    assert "geo $realip_remote_addr $mtls_nas_net" in maps(near)
    with pytest.raises(MtlsError, match=r"service nas: exempt_networks .*set_real_ip_from 10.0.0.0/8"):
        render(near, set_real_ip_from="10.0.0.0/8")
    behind = {**near, "proxy_protocol_from": ["10.0.0.9"]}
    text = maps(behind, set_real_ip_from="10.0.0.0/8")
    assert "geo $remote_addr $mtls_nas_net" in text
    assert "10.0.0.9/32 0;" in text
    assert "listen 443 ssl http2 proxy_protocol;" in block(behind)
    assert render(behind).probes[0]["proxy_protocol"] is True


def test_nothing_ever_listens_for_http3():
    for version in ((1, 18, 0), (1, 31, 0)):
        text = block({**NAS, "redirect_http": True, "hsts": {"max_age": 1}}, version=version)
        assert "quic" not in text
        assert "http3" not in text
        assert "proxy_hide_header      Alt-Svc;" in text


def test_what_to_set_where_a_table_is_too_small():
    """Added to nginx's words."""
    services = parse_services("web", [{**NAS, "server_names": ["x" * 60]}])
    published = {"": Publication(*authority(), {"phone": ["CN=phone"]}, {}, {})}

    def advice(said, **directives):
        host = NginxHost((1, 22, 1), True, "/etc/nginx/nginx.conf", "/var/log/nginx", directives)
        return hash_advice(said, host, services, published)

    duplicate = 'nginx: [emerg] "map_hash_bucket_size" directive is duplicate in /etc/nginx/conf.d/mtls.conf:2'
    assert "write 'map_hash_bucket_size 128;' into the http block of /etc/nginx/nginx.conf, above" in advice(duplicate)
    said = advice("could not build server_names_hash", server_names_hash_bucket_size="64")
    assert "The host sets server_names_hash_bucket_size 64 in its http block, and the longest server name" in said
    assert "The host sets map_hash_bucket_size 64 in" in advice("could not build map_hash", map_hash_bucket_size="64")
    assert advice("could not build map_hash") is None


def test_a_host_that_cannot_serve_the_crl():
    crl_server = CrlServer("crl.lan", 80)
    host = NginxHost((1, 22, 1), True, "/etc/nginx/nginx.conf", "/var/log/nginx", {}, crl_server=crl_server)
    with pytest.raises(
        MtlsError, match="none of its services uses the authority of mtls_ca_dir, so it does not have that"
    ):
        host_files(host, [], {}, TEMPLATES)
    spoken_to = {"redirect_http": True, "proxy_protocol_from": ["192.0.2.1"], "http_proxy_protocol": True}
    published = Publication(*authority(), {"phone": ["CN=phone"]}, {}, {"nas": Credential("CERTIFICATE", "KEY")})
    with pytest.raises(MtlsError, match="service nas: http_proxy_protocol is for everybody on port 80, and hosts that"):
        host_files(host, parse_services("web", [{**NAS, **spoken_to}]), {"": published}, TEMPLATES)
