# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between the templates and what they are given; addresses, names and sizes for nginx."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib

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
    maps = {"hash_bucket_size": None, "hash_max_size": None}
    none = {**maps, "server_names_bucket_size": None, "variables_bucket_size": 128, "variables_max_size": None}
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
