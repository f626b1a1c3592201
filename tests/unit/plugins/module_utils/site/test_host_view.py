# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between the templates and what they are given; addresses, names and sizes for nginx."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import types

import jinja2
import jinja2.nodes
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.site import host_view
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import (
    NginxHost,
    Upstream,
    needs_system_ca,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import host_name, parse_services

TEMPLATES = pathlib.Path(__file__).parents[5] / "roles" / "server" / "templates"
# What the templates call a value of each type.
TYPES = {
    "service": host_view.ServiceView,
    "location": host_view.LocationView,
    "zone": host_view.ZoneView,
    "client": host_view.ListedView,
    "upstream": Upstream,
    "trust": TrustPaths,
    "tls": host_view.UpstreamTlsView,
}
NAS = {"name": "nas", "server_names": ["nas.lan"], "listen": 8443, "upstream": "http://127.0.0.1:5000"}


def used() -> dict[str, set[str]]:
    """The attributes that the templates use, by the name of what they use them of."""
    found: dict[str, set[str]] = {name: set() for name in TYPES}
    for name in ("expiry.j2", "gate.j2", "mtls.conf.j2", "service.conf.j2", "snippet.conf.j2"):
        tree = jinja2.Environment().parse((TEMPLATES / name).read_text())
        for node in tree.find_all(jinja2.nodes.Getattr):
            inner = node.node
            if isinstance(inner, jinja2.nodes.Name) and inner.name in TYPES:
                found[inner.name].add(node.attr)
            elif isinstance(inner, jinja2.nodes.Getattr) and inner.attr in TYPES:  # service.trust.ca
                found[inner.attr].add(node.attr)
        for node in tree.find_all(jinja2.nodes.Filter):
            if node.name == "selectattr":  # services | selectattr("zones")
                found["service"].add(node.args[0].value)
    return found


@pytest.mark.parametrize("name", TYPES)
def test_the_templates_use_what_there_is(name):
    available = {field.name for field in dataclasses.fields(TYPES[name])}
    available |= {attribute for attribute in vars(TYPES[name]) if not attribute.startswith("_")}
    assert used()[name] - available == set()


@pytest.mark.parametrize("name", ["service", "location", "zone", "client", "tls"])
def test_there_is_nothing_that_no_template_uses(name):
    assert {field.name for field in dataclasses.fields(TYPES[name])} - used()[name] == set()


def nginx(**values) -> NginxHost:
    return NginxHost(
        **{"version": (1, 26), "ipv6": True, "conf_path": "/etc/nginx/nginx.conf", "log_dir": "/log"}
        | {"directives": {}, **values}
    )


def view(service, host=None, clients=None) -> host_view.ServiceView:
    parsed = parse_services("web1", [{**NAS, **service}])
    (found,) = host_view.views_of(host or nginx(), parsed, {"": Publication("", "", clients or {}, {}, {})})
    return found


SAFE = {"ssi": True, "own_ports": [80], "session_resumption": True}
SNIPPET = {"upstream": None, "snippet": True}


@pytest.mark.parametrize(
    ("keeps", "host", "service", "others"),
    [
        (True, {}, {}, []),
        (True, {"version": (1, 22)}, {}, [{}, {"state": "absent", "authority": "pki/theirs"}]),
        (True, {"own_ports": [80, 443]}, {"listen": 8443}, []),
        (False, {"session_resumption": False}, {}, []),
        (False, {"version": (1, 21, 9)}, {}, []),
        (False, {"ssi": False}, {}, []),
        (False, {"own_ports": None}, {}, []),
        (False, {"own_ports": [80, 8443]}, {"listen": [443, "127.0.0.1:8443"]}, []),
        (False, {}, SNIPPET, []),
        (False, {}, {}, [{"authority": "pki/theirs", "listen": 8443}]),
        (False, {}, {"public_paths": ["/open/"]}, []),
        (False, {}, {}, [{"exempt_networks": ["192.0.2.0/24"]}]),
        (True, {}, {}, [{"cors_preflight": True, "listen": 9443}]),
    ],
)
def test_sessions_are_kept_where_nobody_else_could_bring_theirs(keeps, host, service, others):
    services = [{**NAS, **service}]
    services += [{**NAS, "name": "other", "server_names": ["other.lan"], **other} for other in others[:1]]
    services += [{**NAS, "name": "last", "server_names": ["last.lan"], **other} for other in others[1:]]
    parsed = [each for each in parse_services("web1", services) if each.present]
    published = {each.trust: Publication("", "", {}, {}, {}) for each in parsed}
    assert host_view.views_of(nginx(**{**SAFE, **host}), parsed, published)[0].keeps_sessions is keeps


@pytest.mark.parametrize(
    ("listen", "host", "listens"),
    [
        (8443, nginx(), ["8443 ssl", "[::]:8443 ssl"]),
        (8443, nginx(ipv6=False), ["8443 ssl"]),
        (8443, nginx(version=(1, 22, 1)), ["8443 ssl http2", "[::]:8443 ssl http2"]),
        ("[2001:db8::1]:8443", nginx(ipv6=False), ["[2001:db8::1]:8443 ssl"]),  # nginx's to refuse
    ],
)
def test_listens(listen, host, listens):
    assert view({"listen": listen}, host).listens == listens


def test_a_client_has_a_line_for_each_of_its_subjects():
    found = view({"allow": ["phone", "gone"]}, clients={"phone": ["CN=phone", "CN=phone,O=Acme"], "gone": []})
    assert [(line.key, line.comment) for line in found.clients] == [
        ("SUCCESS:CN=phone", ""),
        ("SUCCESS:CN=phone,O=Acme", "  # phone"),
    ]


def test_a_path_that_others_could_read_otherwise_wants_every_list():
    service = {"allow": ["a", "b"], "paths": [{"path": "/admin/", "allow": ["b", "c"]}]}
    found = view(service, clients={name: [f"CN={name}"] for name in "abc"})
    keys = {line.key for line in found.clients}
    assert keys == {
        f"{zone}:SUCCESS:CN={name}" for zone, names in (("rest", "ab"), ("p0", "bc"), ("every", "b")) for name in names
    }


@pytest.mark.parametrize(
    ("upstream", "name"),
    [
        ("http://backend.lan:5000/app", "backend.lan"),
        ("http://127.0.0.1:5000", None),
        ("https://[::1]:5000", None),
        ("http://unix:/run/app.sock", None),
    ],
)
def test_host_names(upstream, name):
    assert host_name(upstream) == name


def test_a_name_is_asked_for_at_each_request():
    host = nginx(name_servers=["192.0.2.53"], names={"backend.lan": "backend.lan."})
    found = view({"upstream": "http://backend.lan:5000/app"}, host)
    assert [upstream.asked for upstream in found.names] == ["backend.lan.:5000"]
    assert found.resolver == "192.0.2.53"
    assert found.locations == [
        host_view.LocationView("/", "http://$mtls_nas_upstream", "/app$uri", "http://backend.lan:5000/app/ /")
    ]


def test_an_address_is_not():
    found = view({"upstream": "http://127.0.0.1:5000/app"}, nginx(name_servers=["192.0.2.53"]))
    assert (found.names, found.resolver) == ([], None)
    assert found.locations == [host_view.LocationView("/", "http://127.0.0.1:5000/app/")]


def test_sizes_are_set_only_where_the_defaults_do_not_do():
    long = view({"allow": ["phone"]}, clients={"phone": ["CN=" + "x" * 60]})
    maps = {"hash_bucket_size": None, "server_names_bucket_size": None}
    none = {**maps, "variables_bucket_size": 128, "variables_max_size": None}
    assert host_view.hash_sizes(nginx(), [view({})], []) == none
    assert host_view.hash_sizes(nginx(), [long], []) == {**none, "hash_bucket_size": 128}
    own = nginx(directives={"map_hash_bucket_size": "64"})
    assert host_view.hash_sizes(own, [long], []) == none
    named = view({"server_names": ["x" * 60]})
    assert host_view.hash_sizes(own, [named], [])["server_names_bucket_size"] == 128
    own = nginx(directives={"server_names_hash_bucket_size": "64", "variables_hash_bucket_size": "64"})
    assert host_view.hash_sizes(own, [named], []) == {**none, "hash_bucket_size": 128, "variables_bucket_size": None}
    assert host_view.hash_sizes(nginx(), [view({})] * 40, [])["variables_max_size"] == 4096
    own = nginx(directives={"variables_hash_max_size": "1024"})
    assert host_view.hash_sizes(own, [view({})] * 40, [])["variables_max_size"] is None


def test_how_far_below_a_root_clients_may_be():
    """None but its own where there are roots only. What is signed with the same CA's former key is no root."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("old", "new", "below")}

    def ca(name, key, issuer, signer):
        begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        subjects = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
        built = x509.CertificateBuilder(subjects[1], subjects[0], keys[key].public_key(), x509.random_serial_number())
        dated = built.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=3650))
        return dated.sign(keys[signer], hashes.SHA256())

    old, renewed, new = ca("R", "old", "R", "old"), ca("R", "old", "R", "old"), ca("N", "new", "N", "new")
    new_with_old, below = ca("R", "new", "R", "old"), ca("B", "below", "R", "old")
    depths = {
        (old,): 0,
        (old, renewed): 0,
        (old, new): 0,
        (new_with_old, old): 1,
        (below, old): 1,
        (below,): 1,
        (below, old, new): 2,
    }
    assert [host_view.Bundle(chain, []).depth for chain in depths] == list(depths.values())


def test_usual_hosts_have_keys_of_their_own_where_these_need_nothing():
    """Each only once, as nginx's maps compare them; none that needs larger buckets, no more than it finds room for."""

    def keys(views, **directives):
        return host_view.named_hosts(nginx(directives=directives), views, [])

    names = {"server_names": ["Nas.lan", "nas.lan", "*.nas.lan", "x" * 20, "x" * 21]}
    usual = [("nas.lan nas.lan:8443", "nas.lan"), (f"{'x' * 20} {'x' * 20}:8443", "x" * 20)]
    assert keys([view(names)]) == {"nas": usual}
    assert keys([view(names)], map_hash_bucket_size="32") == {"nas": []}
    longer = (f"{'x' * 21} {'x' * 21}:8443", "x" * 21)
    assert keys([view(names)], map_hash_bucket_size="128") == {"nas": [*usual, longer]}
    assert keys([view({**names, "allow": ["phone"]}, clients={"phone": ["CN=" + "x" * 60]})]) == {
        "nas": [*usual, longer]
    }
    assert keys([view({"listen": 443, "server_names": ["a"]})]) == {"nas": [("a a", "a")]}
    # As server name, clients send no address.
    assert keys([view({"server_names": ["192.0.2.1"]})]) == {"nas": [(" 192.0.2.1:8443", "192.0.2.1")]}
    many = view({"server_names": [f"n{number}.lan" for number in range(300)]})
    assert len(keys([many])["nas"]) == 100
    # A name of one service opens no other.
    other = view({"name": "other", "server_names": ["other.lan"]})
    assert keys([view(names), other])["other"] == [("other.lan other.lan:8443", "other.lan")]


def test_only_who_needs_them_has_the_hosts_public_cas_looked_for():
    raw = {"name": "nas", "server_names": ["nas.lan"], "upstream": "https://b.lan"}
    tls = {"verify": True, "ca": "system", "name": None, "client": None}
    assert needs_system_ca(parse_services("web", [{**raw, "upstream_tls": tls}]))
    assert not needs_system_ca(parse_services("web", [{**raw, "upstream_tls": {**tls, "ca": "a.crt"}}]))
    assert not needs_system_ca(parse_services("web", [{**raw, "upstream": "http://b.lan"}]))


def test_a_subject_on_a_list_has_one_line_though_a_client_has_it_too():
    listed = ["phone", {"dn": "CN=PHONE"}, {"dn": "CN=a+UID=7,O=Acme"}]
    found = view({"allow": listed}, clients={"phone": ["CN=phone"]})
    assert [(line.key, line.comment) for line in found.clients] == [
        ("SUCCESS:CN=phone", ""),
        ("SUCCESS:CN=a+UID=7,O=Acme", ""),
    ]


def test_a_subject_is_on_every_list_by_whatever_way_it_is_on_each():
    service = {"allow": [{"dn": "CN=phone"}, "b"], "paths": [{"path": "/a/", "allow": ["phone", {"dn": "CN=x"}]}]}
    found = view(service, clients={"phone": ["CN=phone"], "b": ["CN=b"]})
    assert [line.key for line in found.clients] == [
        "rest:SUCCESS:CN=b",
        "rest:SUCCESS:CN=phone",
        "p0:SUCCESS:CN=phone",
        "p0:SUCCESS:CN=x",
        "every:SUCCESS:CN=phone",
    ]


WIDE = r"~*^(?:[a-z0-9_-]+\.)+nas\.lan\.?\z"


@pytest.mark.parametrize(
    ("service", "host", "said"),
    [
        (
            {},
            {},
            {
                "public_key": "00",
                "exempt_key": "0:0",
                "address": "$realip_remote_addr",
                "zone_key": "",
                "zones": [],
                "keeps_verdict": False,
                "optional": False,
                "homes": ["nas.lan"],
                "home_patterns": [],
                "sni_names": ["nas.lan"],
                "plain_listens": ["80", "[::]:80"],
                "plain_proxies": (),
                "client_cert": False,
                "hands_preflights_on": False,
                "base": "http://127.0.0.1:5000",
                "redirect": None,
                "acme_redirect": None,
                "host_redirect": None,
                "certificate": "/etc/nginx/server-certs/nas.crt",
                "relative_redirects": False,
                "port_suffix": ":8443",
            },
        ),
        (
            {"public_paths": ["/open/", "/a"]},
            {},
            {"public_key": "$mtls_nas_open$mtls_plain_path", "exempt_key": "0:0", "keeps_verdict": False},
        ),
        ({"exempt_networks": ["192.0.2.0/24"]}, {}, {"exempt_key": "$mtls_nas_near:0", "public_key": "00"}),
        ({"cors_preflight": True}, {}, {"exempt_key": "0:$mtls_preflight", "hands_preflights_on": True}),
        ({**SNIPPET, "cors_preflight": True}, {}, {"hands_preflights_on": False, "keeps_verdict": True}),
        ({"paths": [{"path": "/a/", "allow": ["a"]}]}, {}, {"zone_key": "$mtls_nas_zone:", "keeps_verdict": False}),
        ({**SNIPPET, "paths": [{"path": "/a/", "allow": ["a"]}]}, {}, {"keeps_verdict": True}),
        (SNIPPET, {}, {"keeps_verdict": False, "base": None, "locations": [host_view.LocationView("/")]}),
        ({"server_names": ["*.nas.lan", "x.lan", "y.lan"]}, {}, {"homes": ["x.lan", "y.lan"], "home_patterns": [WIDE]}),
        ({"server_names": ["*.nas.lan", "*.b.lan"]}, {}, {"homes": ["nas.lan"]}),
        (
            {"server_names": ["default", "192.0.2.1"], "redirect_http": False},
            {},
            {"sni_names": ["\\default", "192.0.2.1", ""]},
        ),
        ({"identity_headers": "rfc9440"}, {}, {"client_cert": True}),
        (
            {"proxy_protocol_from": ["192.0.2.9"], "http_proxy_protocol": True, "listen": "192.0.2.1:8443"},
            {},
            {
                "address": "$remote_addr",
                "listens": ["192.0.2.1:8443 ssl proxy_protocol"],
                "plain_listens": ["192.0.2.1:80 proxy_protocol"],
                "plain_proxies": ("192.0.2.9/32",),
            },
        ),
        ({"proxy_protocol_from": ["192.0.2.9"]}, {}, {"plain_proxies": (), "plain_listens": ["80", "[::]:80"]}),
        (
            {"certificate": {"path": "/own.pem", "key": "/own.key"}},
            {"stand_ins": ["wiki"]},
            {"certificate": "/own.pem", "certificate_key": "/own.key"},
        ),
        (
            {"certificate": {"path": "/own.pem", "key": "/own.key"}},
            {"stand_ins": ["nas"]},
            {"certificate": "/etc/nginx/server-certs/nas.crt", "certificate_key": "/etc/nginx/server-certs/nas.key"},
        ),
        ({"public_port": 443}, {}, {"relative_redirects": True, "port_suffix": ""}),
    ],
)
def test_a_service_in_the_words_of_the_templates(service, host, said):
    raw = {"redirect_http": True, **service}
    if raw.get("snippet"):
        del raw["redirect_http"]
    found = view(raw, nginx(**host))
    assert {name: getattr(found, name) for name in said} == said


NAMED = {"name_servers": ["192.0.2.53", "192.0.2.54"], "names": {"b.lan": "b.lan."}}


@pytest.mark.parametrize(
    ("service", "host", "said"),
    [
        (
            {"upstream": "http://b.lan:5000/b.lan/", "acme_upstream": "http://b.lan"},
            NAMED,
            {
                "base": "http://$mtls_nas_upstream",
                "redirect": "http://b.lan:5000/b.lan/ /",
                "resolver": "192.0.2.53 192.0.2.54",
                "acme_upstream": "http://$mtls_nas_acme",
                "acme_redirect": "http://b.lan/ /",
                "acme_resolver": "192.0.2.53 192.0.2.54",
            },
        ),
        (
            {"upstream": "http://b.lan"},
            {**NAMED, "ipv6": False},
            {"resolver": "192.0.2.53 192.0.2.54 ipv6=off", "redirect": "http://b.lan/ /"},
        ),
        ({"upstream": "http://b.lan"}, {**NAMED, "directives": {"resolver": "192.0.2.1"}}, {"resolver": None}),
        # An escape in the path would be escaped again.
        ({"upstream": "http://b.lan/a%20b"}, NAMED, {"resolver": None, "names": [], "base": "http://b.lan"}),
        ({"upstream": "http://b.lan"}, {"names": NAMED["names"]}, {"resolver": None, "names": []}),
        (
            {"upstream": "http://192.0.2.1/b.lan", "acme_upstream": "http://192.0.2.1"},
            NAMED,
            {
                "resolver": None,
                "base": "http://192.0.2.1",
                "redirect": "http://192.0.2.1/b.lan/ /",
                "acme_redirect": None,
            },
        ),
        ({"upstream": "http://192.0.2.1/"}, NAMED, {"redirect": None}),
    ],
)
def test_an_upstream_in_the_words_of_the_templates(service, host, said):
    found = view({"redirect_http": True, **service}, nginx(**host))
    assert {name: getattr(found, name) for name in said} == said


def test_a_name_is_put_in_full_and_not_a_port_that_looks_like_it():
    host = nginx(name_servers=["192.0.2.53"], names={"80": "80."})
    assert [each.asked for each in view({"upstream": "http://80:80"}, host).names] == ["80.:80"]


def takes(key: str, value: str) -> bool:
    """Whether nginx takes a value for the key of a map, or a redirect for that of `proxy_redirect`."""
    if not key.startswith("~"):
        return key.lower() == value.lower()
    pattern, flags = (key[2:], re.IGNORECASE) if key.startswith("~*") else (key[1:], 0)
    return re.search(pattern.replace(r"\z", r"\Z"), value, flags) is not None


PUBLIC = {"public_paths": ["/open/", "/a.b"]}
EXEMPT = {"exempt_networks": ["192.0.2.0/24"]}
ZONED = {**EXEMPT, "paths": [{"path": "/a.b/", "allow": ["x"]}]}
TOLD = {"upstream": "http://192.0.2.1/a.b", "upstream_host": "b.lan"}


@pytest.mark.parametrize(
    ("service", "key_of", "taken", "others"),
    [
        (PUBLIC, lambda found: found.public_patterns[0], ["/open/", "/open/x"], ["/open", "/Open/", "/x/open/"]),
        (
            PUBLIC,
            lambda found: found.public_patterns[1],
            ["/a.b"],
            ["/a.b/", "/a.bc", "/axb", "/a.b\n", "/A.B", "/x/a.b"],
        ),
        (
            ZONED,
            lambda found: found.zones[0].pattern,
            ["1:/a.b", "1:/a.b/", "1:/a.b/x"],
            ["1:/a.bc", "1:/axb", "1:/A.b", "0:/a.b", "11:/a.b", "1:/x/a.b", "1:/a.b\n", "1:/a.bz", "1:/a.b1"],
        ),
        (
            ZONED,
            lambda found: found.zones[0].near,
            ["1:/a.b", "1:/A.B/", "1:/a.b.", "1:/a.b;x", "1:/a.b%"],
            [*(f"1:/a.b{letter}" for letter in "aAmzZ059_-"), "0:/a.b", "11:/a.b", "1:/x/a.b", "1:/axb"],
        ),
        (
            EXEMPT,
            lambda found: found.self_pattern,
            ["1:192.0.2.1 192.0.2.1:/", "1:::1 ::1:/x"],
            [
                "0:192.0.2.1 192.0.2.1:/",
                "11:192.0.2.1 192.0.2.1:/",
                "1:192.0.2.1 192.0.2.10:/",
                "1:192.0.2.1 192.0.2.2:/192.0.2.1 192.0.2.1:",
                "1:rest:192.0.2.1 192.0.2.1:/",
            ],
        ),
        (
            ZONED,
            lambda found: found.self_pattern,
            ["1:rest:192.0.2.1 192.0.2.1:/"],
            ["1:192.0.2.1 192.0.2.1:/", "1:p0:192.0.2.1 192.0.2.1:/", "0:rest:192.0.2.1 192.0.2.1:/"],
        ),
        (
            EXEMPT,
            lambda found: found.probe_pattern,
            ["1:192.0.2.1 192.0.2.2:/.mtls-nginx-gate"],
            [
                "0:192.0.2.1 192.0.2.2:/.mtls-nginx-gate",
                "01:192.0.2.1 192.0.2.2:/.mtls-nginx-gate",
                "1:192.0.2.1 192.0.2.2:/.mtls-nginx-gate/",
                "1:192.0.2.1 192.0.2.2:/.mtls-nginx-gate\n",
                "1:192.0.2.1 192.0.2.2:/x/.mtls-nginx-gate",
                "1192.0.2.1 192.0.2.2:/.mtls-nginx-gate",
            ],
        ),
        (
            {"server_names": ["*.nas.lan"]},
            lambda found: found.sni_names[0],
            ["a.nas.lan", "A.NAS.LAN.", "a5.b.nas.lan", "a_0-9.nas.lan"],
            [
                *("nas.lan", "a..nas.lan", ".nas.lan", "a.nas.lan:1", "a.nas.lan..", "a.nas.lanx", "a.nas.lan\n"),
                *("a.nasxlan", ":a.nas.lan", "a:b.nas.lan", "anas.lan"),
            ],
        ),
        (
            TOLD,
            lambda found: found.host_redirect,
            ["http://b.lan/a.b/", "https://B.LAN/a.b/c?d"],
            [
                *(
                    "http://b.lan/a.b",
                    "http://b.lan/A.b/",
                    "http://b.lan/axb/",
                    "HTTP://b.lan/a.b/",
                    "http://bxlan/a.b/",
                ),
                *("xhttp://b.lan/a.b/", "http://b.lan/a.bc/", "http://b.lan/a.b/\n\n", "//b.lan/a.b/"),
            ],
        ),
    ],
)
def test_what_the_patterns_take(service, key_of, taken, others):
    key = key_of(view(service))
    assert {value: takes(key, value) for value in (*taken, *others)} == {
        **dict.fromkeys(taken, True),
        **dict.fromkeys(others, False),
    }


def test_what_is_taken_over_of_a_redirect():
    """The path and what follows it: `$1`."""
    (path,) = re.findall((view(TOLD).host_redirect or "")[1:], "http://b.lan/a.b/c/d")
    assert path == "/c/d"
    assert view({"upstream_host": None}).host_redirect is None


def test_upstreams_of_another_form_do_not_come_this_far():
    for odd in ("ftp://b.lan", "http://"):
        with pytest.raises(ValueError, match=odd):
            host_view.split_upstream(odd)


def test_two_authorities_of_one_name():
    def bundle(*names):
        subjects = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in names]
        return host_view.Bundle([types.SimpleNamespace(subject=subject) for subject in subjects], [])

    assert host_view.share_a_name([bundle("a", "b"), bundle("c"), bundle("b")])
    assert host_view.share_a_name([bundle("a"), bundle("a")])
    assert not host_view.share_a_name([bundle("a", "b"), bundle("c")])


@pytest.mark.parametrize(
    ("direct", "services", "sees"),
    [
        (True, [{}], True),
        (False, [{}], False),
        (True, [{}, {**SNIPPET, "name": "s", "server_names": ["s.lan"]}], False),
        (True, [{}, {**SNIPPET, "name": "s", "server_names": ["s.lan"], "authority": "pki/theirs"}], True),
        (False, [{}, {**SNIPPET, "name": "s", "server_names": ["s.lan"], "authority": "pki/theirs"}], False),
    ],
)
def test_who_sees_to_issuers(direct, services, sees):
    present = parse_services("web1", [{**NAS, **each} for each in services])
    bundle = types.SimpleNamespace(direct=direct)
    assert host_view.sees_to_issuers(bundle, "", present) is sees


def test_addresses_that_other_blocks_name():
    """A block on every address names those too that others of ours name; a snippet's listens are not ours."""
    other = {**NAS, "name": "b", "server_names": ["b.lan"], "listen": "192.0.2.1:8443"}
    snippet = {**NAS, **SNIPPET, "name": "s", "server_names": ["s.lan"], "listen": "192.0.2.2:8443"}
    parsed = parse_services("web1", [NAS, other, snippet])
    found = host_view.views_of(nginx(), parsed, {"": Publication("", "", {}, {}, {})})
    assert found[0].listens == ["8443 ssl", "[::]:8443 ssl", "192.0.2.1:8443 ssl"]


def test_where_the_defaults_of_the_tables_end():
    """Each at the last number for which nginx's default does, and at the next."""

    def sizes(views, bundles=(), **directives):
        return host_view.hash_sizes(nginx(directives=directives), views, bundles)

    longest = {length: view({"server_names": ["x" * length]}) for length in (46, 47)}
    assert {length: sizes([each])["server_names_bucket_size"] for length, each in longest.items()} == {
        46: None,
        47: 128,
    }
    # 16 variables of each service and 13 of each authority, in a table four times as large.
    none = types.SimpleNamespace(issuers=[])
    counts = {
        (16, 0): None,
        (17, 0): 2048,
        (15, 1): None,
        (15, 2): 2048,
        (16, 1): 2048,
        (3, 16): None,
        (12, 5): 2048,
        (64, 0): 4096,
        (65, 0): 8192,
    }
    found = {each: sizes([view({})] * each[0], [none] * each[1])["variables_max_size"] for each in counts}
    assert found == counts


def test_a_host_of_which_little_is_known():
    """No session is kept unless all is known that it takes, and pages are ours."""
    for known in SAFE:
        host = nginx(**{name: value for name, value in SAFE.items() if name != known})
        assert not view({}, host).keeps_sessions
    assert nginx().error_pages is True
    served = nginx(crl_server=host_view.CrlServer("crl.lan", 8080))
    assert host_view.crl_listens(served, []) == ["8080", "[::]:8080"]
    assert host_view.crl_listens(nginx(), []) == []


def test_advice_where_the_hosts_own_tables_are_too_small(monkeypatch):
    monkeypatch.setattr(host_view.Bundle, "of", lambda _publication: host_view.Bundle([], []))
    parsed = parse_services("web1", [{**NAS, "server_names": ["x" * 60]}])
    published = {"": Publication("", "", {}, {}, {})}

    def advice(**own):
        return host_view.hash_advice("", nginx(directives=own), parsed, published)

    assert advice() is None
    assert advice(map_hash_bucket_size="128", server_names_hash_bucket_size="128") is None
    both = advice(map_hash_bucket_size="64", server_names_hash_bucket_size="64") or ""
    assert both.count(" needs 128: write 128 there, or take the line away, and mtls.conf sets what is needed") == 2
    assert "what is needed. The host sets server_names_hash_bucket_size 64 in" in both
