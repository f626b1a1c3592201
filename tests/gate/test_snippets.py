# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snippet is a gate only where nothing of its server block comes before it, and where nobody speaks for others.

nginx takes all of these configurations. What it then lets in is why the collection refuses them.
"""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, snippets
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet

from .client import ask
from .host import USUAL_HTTP

BLOCK = """
server {
    listen 127.0.0.1:@PORT@ ssl%(listen)s;
    server_name nas.test;
    %(before)s
    include snippets/mtls-nas.conf;
    %(after)s
    location / { root www; }
}
%(others)s
"""
SERVICE = {"name": "nas", "server_names": ["nas.test"], "snippet": True, "allow": ["admin"]}
LAN = "127.0.0.2"


def host_with(new_host, authority, *, http=USUAL_HTTP, exempt=(), files=None, **parts):
    host = new_host()
    authority.client("admin")
    words = {"listen": "", "before": "", "after": "", "others": "", **parts}
    host.ours([SERVICE], authority, neighbours={"site": BLOCK % words}, http=http, exempt=exempt)
    for path, text in (files or {}).items():
        host.write(path, text)
    return host.start()


def verdict(host, exempt=False):
    """What the collection says of the configuration as it is."""
    configuration = nginx_conf.load(str(host.folder / "nginx.conf"))
    snippet = Snippet("nas", str(host.folder / "snippets" / "mtls-nas.conf"), exempt)
    return snippets.included_nowhere(configuration, [snippet])


# --- what comes before it

PAST = {
    "a return": ("return 200 SECRET;", "/x", 200),
    "a condition": ("if ($request_method = POST) { return 200 SECRET; }", "/x", 200),
    "a rewrite": ("rewrite ^/x$ /index.html break;", "/x", 200),
    "a break": ("if ($uri ~ ^/index) { break; }", "/index.html", 200),
    "a break for all": ("break;", "/index.html", 200),
    "an included one": ("include own/redirects.conf;", "/index.html", 200),
}


@pytest.mark.parametrize("what", PAST)
def test_what_comes_before_a_snippet_lets_others_in(new_host, authority, tls, what):
    """Whoever is not on the list; where the certificate is optional, because a path is public, anybody."""
    before, path, status = PAST[what]
    host = host_with(new_host, authority, before=before, files={"own/redirects.conf": "\n# old links\nbreak;\n"})
    method = "POST" if "POST" in before else "GET"
    assert ask(host.port, path, tls=tls, method=method, client=authority.client("guest")).status == status
    file, line = ("own/redirects.conf", 3) if "include" in before else ("conf.d/site.conf", 5)
    with pytest.raises(MtlsError, match=f"'(?:return|if|rewrite|break)' in {host.folder}/{file}, line {line}"):
        verdict(host)


def test_a_variable_of_ours_that_is_set(new_host, authority, tls):
    host = host_with(new_host, authority, before="set $mtls_nas_gate open;")
    assert ask(host.port, "/index.html", tls=tls, client=authority.client("guest")).status == 200
    with pytest.raises(MtlsError, match=r"'set \$mtls_nas_gate' in .*/conf\.d/site\.conf, line 5"):
        verdict(host)


@pytest.mark.parametrize("after", ["return 200 x;", "rewrite ^ /index.html break;", "if ($uri = /y) { return 204; }"])
def test_what_comes_after_it_does_not(new_host, authority, tls, after):
    harmless = "set $x 1; add_header X-A b; client_max_body_size 2m;"
    host = host_with(new_host, authority, before=harmless, after=after)
    for path in ("/", "/x", "/y", "/index.html"):
        assert ask(host.port, path, tls=tls).status == 400
        assert ask(host.port, path, tls=tls, client=authority.client("guest")).status == 403
    assert verdict(host) == []


def test_other_server_blocks_are_their_own_affair(new_host, authority, tls):
    others = "server { listen 127.0.0.1:@PORT@ ssl; server_name other.test; return 204; }"
    host = host_with(new_host, authority, others=others)
    assert ask(host.port, tls=tls, host="other.test").status == 204
    assert ask(host.port, tls=tls).status == 400
    assert verdict(host) == []


def test_two_snippets_in_one_block(new_host, authority, tls):
    host = new_host()
    authority.client("admin")
    second = {**SERVICE, "name": "more"}
    block = BLOCK % {"listen": "", "before": "include snippets/mtls-more.conf;", "after": "", "others": ""}
    block = block.replace("include snippets/mtls-nas.conf;", "include own/names.conf;")
    host.ours([SERVICE, second], authority, neighbours={"site": block})
    host.write("own/names.conf", "# nothing")
    host.start()
    assert ask(host.port, tls=tls).status == 400
    assert [each.service for each in verdict(host)] == ["nas"]


# --- included nowhere

NOWHERE = {
    "not at all": "location / { root www; }",
    "in a comment": "# include snippets/mtls-nas.conf;",
    "another one": "include own/*.none;",
}


@pytest.mark.parametrize("what", NOWHERE)
def test_included_nowhere_it_guards_nothing(new_host, authority, tls, what):
    host = new_host()
    authority.client("admin")
    site = f"server {{ listen 127.0.0.1:@PORT@ ssl; server_name nas.test; root www;\n{NOWHERE[what]}\n}}"
    host.ours([SERVICE], authority, neighbours={"site": site})
    host.start()
    assert ask(host.port, "/index.html", tls=tls).status == 200
    (snippet,) = verdict(host)
    assert "guards nothing" in snippet.warning


@pytest.mark.parametrize("how", ["snippets/../snippets/mtls-nas.conf", "snippets/*.conf", "own/link.conf", "own/via"])
def test_included_under_any_name_it_is_found(new_host, authority, tls, how):
    host = new_host()
    authority.client("admin")
    site = f"server {{ listen 127.0.0.1:@PORT@ ssl; server_name nas.test; root www; include {how}; }}"
    host.ours([SERVICE], authority, neighbours={"site": site})
    (host.folder / "own" / "link.conf").symlink_to(host.folder / "snippets" / "mtls-nas.conf")
    host.write("own/via", "include @FOLDER@/snippets/mtls-nas.conf;")
    host.start()
    assert ask(host.port, "/index.html", tls=tls).status == 400
    assert verdict(host) == []


# --- where it can be asked

LAYOUTS = {
    "by its name": ("server_name nas.test;", "", ["nas.test"]),
    "as the first block": ("", "server { listen 127.0.0.1:@PORT@ ssl; server_name other.test; }", ["nas.test"]),
    "by a wildcard, before one with its end": (
        "server_name *.nas.test;",
        "server { listen 127.0.0.1:@PORT@ ssl; server_name mtls-probe.nas.* *.test; }",
        ["*.nas.test"],
    ),
    "by a name below the wildcard": ("server_name a.b.test;", "", ["*.b.test"]),
    "by a name with a dot": ("server_name .nas.test;", "", ["nas.test"]),
    "marked": (
        "server_name _;",
        "server { listen 127.0.0.1:@PORT@ ssl; server_name other.test; }",
        ["nas.test"],
    ),
}


@pytest.mark.parametrize("what", LAYOUTS)
def test_nginx_chooses_the_server_block_by_the_name_that_is_asked_for(new_host, authority, tls, what):
    names, other, service_names = LAYOUTS[what]
    host = new_host()
    admin = authority.client("admin")
    mark = " default_server" if what == "marked" else ""
    block = (
        f"server {{ listen 127.0.0.1:@PORT@ ssl{mark}; {names} include snippets/mtls-nas.conf;"
        " location / { return 418; } }"
    )
    site = f"{other} {block}" if what == "marked" else f"{block} {other}"
    host.ours([{**SERVICE, "server_names": service_names}], authority, neighbours={"site": site})
    host.start()
    configuration = nginx_conf.load(str(host.folder / "nginx.conf"))
    path = str(host.folder / "snippets" / "mtls-nas.conf")
    (gate,) = snippets.gates(configuration, [Snippet("nas", path, server_names=service_names)])
    assert (gate.port, gate.address, gate.trouble) == (host.port, "127.0.0.1", None)
    assert ask(host.port, probe.GATE_PATH, tls=tls, host=gate.server_name).status == 400
    # Only who is let in gets this answer, which no request to what stands behind the snippet gives.
    for path, status in ((probe.GATE_PATH, 204), ("/", 418), (f"{probe.GATE_PATH}/x", 418)):
        assert ask(host.port, path, tls=tls, host=gate.server_name, client=admin).status == status
    assert ask(host.port, probe.GATE_PATH, tls=tls, host=gate.server_name, client=authority.client("x")).status == 403


# --- who speaks for others

FRONT = {
    "the PROXY protocol": ({"listen": " proxy_protocol"}, USUAL_HTTP, "listen"),
    "the PROXY protocol, by another block": (
        {"others": "server { listen 127.0.0.1:@PORT@ ssl proxy_protocol; server_name other.test; }"},
        USUAL_HTTP,
        "listen",
    ),
    "a trusted header": (
        {"before": "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;"},
        USUAL_HTTP,
        "set_real_ip_from",
    ),
    "a trusted header, in a location": (
        {"after": "location /x { set_real_ip_from 127.0.0.0/8; }"},
        USUAL_HTTP,
        "set_real_ip_from",
    ),
    "a trusted header, inherited": ({}, USUAL_HTTP + "set_real_ip_from 127.0.0.0/8;", "set_real_ip_from"),
    "a trusted header, in another block of the socket": (
        {"others": "server { listen 127.0.0.1:@PORT@ ssl; server_name other.test; set_real_ip_from 127.0.0.0/8; }"},
        USUAL_HTTP,
        "set_real_ip_from",
    ),
}


@pytest.mark.parametrize("what", FRONT)
def test_exempt_networks_behind_a_proxy_let_everybody_in(geo, new_host, authority, tls, what):
    """The proxy's address is in the LAN, and whoever comes by way of it is somewhere else."""
    parts, http, directive = FRONT[what]
    host = host_with(new_host, authority, http=http, exempt=["127.0.0.2/32"], **parts)
    before = b"PROXY TCP4 203.0.113.9 10.0.0.1 1000 443\r\n" if "PROXY" in what else b""
    headers = "X-Forwarded-For: 203.0.113.9\r\n"
    assert ask(host.port, "/index.html", tls=tls, source=LAN, before=before, headers=headers).status == 200
    with pytest.raises(MtlsError, match=f"exempt_networks .*'{directive}' in {host.folder}/.*, line "):
        verdict(host, exempt=True)
    assert verdict(host) == []


def test_exempt_networks_without_a_proxy(geo, new_host, authority, tls):
    others = "server { listen 127.0.0.1:@PLAIN@ proxy_protocol; set_real_ip_from 127.0.0.4; }"
    host = host_with(new_host, authority, exempt=["127.0.0.2/32"], others=others)
    assert ask(host.port, "/index.html", tls=tls, source=LAN).status == 200
    assert ask(host.port, "/index.html", tls=tls, source="127.0.0.3").status == 400
    assert verdict(host, exempt=True) == []


@pytest.mark.parametrize(
    "what", ["the PROXY protocol, by another block", "a trusted header, in another block of the socket"]
)
def test_a_server_block_of_ours_shares_its_socket_with_one_behind_a_proxy(geo, new_host, authority, tls, what):
    """`proxy_protocol` of one block is that of all on its socket."""
    parts, _http, directive = FRONT[what]
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "allow": []}
    host.ours([service], authority, neighbours={"site": parts["others"]}, exempt=["127.0.0.2/32"])
    host.start()
    before = b"PROXY TCP4 203.0.113.9 10.0.0.1 1000 443\r\n" if "PROXY" in what else b""
    assert ask(host.port, "/index.html", tls=tls, source=LAN, before=before).status == 200
    configuration = nginx_conf.load(str(host.folder / "nginx.conf"))
    ours = Snippet("nas", str(host.folder / "conf.d" / "mtls-nas.conf"), exempt=True)
    with pytest.raises(MtlsError, match=f"exempt_networks .*'{directive}' in {host.folder}/conf.d/site.conf, line "):
        snippets.included_nowhere(configuration, [ours])


def test_the_redirect_beside_a_server_block_of_ours_is_no_gate(geo, new_host, authority):
    """What is in front of port 80 does not matter."""
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "redirect_http": True}
    front = "server { listen 127.0.0.1:80 proxy_protocol; server_name other.test; }"
    host.ours([service], authority, neighbours={"site": front}, exempt=["127.0.0.2/32"])
    configuration = nginx_conf.load(str(host.folder / "nginx.conf"))
    ours = Snippet("nas", str(host.folder / "conf.d" / "mtls-nas.conf"), exempt=True)
    assert snippets.included_nowhere(configuration, [ours]) == []
