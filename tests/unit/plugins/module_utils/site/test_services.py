# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory may say of services, and what it may not."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.presets import PRESETS
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Endpoint, host_name, parse_services


def service(**changes):
    base = {"name": "nas", "server_names": ["nas.example.com"], "listen": ["443"], "upstream": "http://127.0.0.1:5000"}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


SNIPPET = {"snippet": True, "upstream": None}


def parse(*raw):
    return parse_services("web1", raw)


def test_a_plain_service():
    (nas,) = parse(service(allow=["b", "a", "b"], public_paths=["/open/"], server_names=["NAS.Example.com", "*.lan"]))
    assert nas.listen == Endpoint(443)
    assert nas.listen.sockets == ("443", "[::]:443")
    assert nas.server_names == ("nas.example.com", "*.lan")
    assert nas.allow == AllowList(("b", "a"))
    assert nas.variable == "mtls_nas"
    assert parse(service(name="my-nas-2"))[0].variable == "mtls_my_nas_2"
    assert nas.issued_by_authority


@pytest.mark.parametrize(
    ("listen", "sockets"),
    [
        ("8443", ("8443", "[::]:8443")),
        ("127.0.0.1:8443", ("127.0.0.1:8443",)),
        ("[::1]:8443", ("[::1]:8443",)),
        ("::1:8443", ("[::1]:8443",)),
    ],
)
def test_listen_forms(listen, sockets):
    assert parse(service(listen=[listen]))[0].listen.sockets == sockets


def test_several_addresses():
    (nas,) = parse(service(listen=["192.0.2.1:8443", "[2001:db8::1]:8443"], public_port=443))
    assert [each.sockets for each in nas.endpoints] == [("192.0.2.1:8443",), ("[2001:db8::1]:8443",)]
    assert nas.listen == nas.endpoints[0]
    assert nas.urls == ("https://nas.example.com/",)
    assert [each.sockets for each in nas.plain_endpoints] == [("192.0.2.1:80",), ("[2001:db8::1]:80",)]
    (nas,) = parse(service(listen=[443, "[::]:443", "0.0.0.0:443", "443", "0.0.0.0:80", "192.0.2.1:443"]))
    assert nas.endpoints == (Endpoint(443), Endpoint(80, "0.0.0.0"), Endpoint(443, "192.0.2.1"))
    (nas,) = parse(service(listen=["8443", "192.0.2.1:443"]))
    assert nas.urls == ("https://nas.example.com:8443/",)
    assert [each.sockets for each in nas.plain_endpoints] == [("80", "[::]:80")]


def test_services_of_one_host_clash_at_any_of_their_addresses():
    one = service(listen=["192.0.2.1:443", "192.0.2.2:443"])
    other = service(name="b", listen=["192.0.2.3:443", "192.0.2.2:443"])
    with pytest.raises(MtlsError, match=r"services nas and b both answer to nas\.example\.com on port 443"):
        parse(one, other)
    parse(one, {**other, "listen": ["192.0.2.3:443"]})
    with pytest.raises(MtlsError, match="share port 443, and only one has proxy_protocol_from"):
        parse({**one, "proxy_protocol_from": ["10.0.0.9"]}, {**other, "server_names": ["b"]})
    both = {"server_names": ["first.lan", "second.lan"], "listen": ["443", "8443"]}
    with pytest.raises(MtlsError, match=r"both answer to first\.lan on port 443; "):
        parse(service(**both), service(name="b", **both))
    with pytest.raises(MtlsError, match="share port 443, and only one has proxy_protocol_from"):
        parse({**service(**both), "proxy_protocol_from": ["10.0.0.9"]}, service(name="b", listen=["443", "8443"]))
    with pytest.raises(MtlsError, match="the first redirects from port 80"):
        parse({**one, "redirect_http": True}, service(name="b", listen=["192.0.2.9:1", "192.0.2.2:80"]))


def test_no_allow_list_is_not_an_empty_one():
    everybody, nobody = parse(service(), service(name="b", server_names=["b"], allow=[]))
    assert everybody.allow is None
    assert nobody.allow == AllowList()


@pytest.mark.parametrize("names", [["192.0.2.7"], ["nas.lan", "::1"]])
def test_reached_by_address(names):
    assert parse(service(server_names=names))[0].by_address


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Nas"}, "service name 'Nas'"),
        ({"name": "a" * 33}, "service name"),
        ({"name": "a_b"}, "service name"),
        ({"server_names": []}, "server_names is empty"),
        ({"server_names": ["a b"]}, "server name 'a b'"),
        ({"server_names": ["~^x$"]}, "server name '~^x$'"),
        ({"server_names": ["a;}"]}, "server name 'a;}'"),
        ({"server_names": ["a.*"]}, "server name 'a.*'"),
        ({"server_names": ["ñ.es"]}, "xn--"),
        ({"server_names": ["*ab.es"]}, "server name '*ab.es'"),
        ({"server_names": ["a" * 64 + ".es"]}, "server name 'aaaa"),
        ({"server_names": ["fe80::1%eth0"]}, "server name 'fe80::1%eth0'"),
        ({"server_names": ["fe80::1%a b; }"]}, "server name 'fe80::1%a b; }'"),
        ({"listen": ["[fe80::1%eth0]:443"]}, "listen '[fe80::1%eth0]:443' does not start with an IP address"),
        ({"listen": ["443", "x"]}, "listen 'x' has no port"),
        ({"public_port": 0}, "public_port is 0"),
        ({"public_port": 65536}, "public_port is 65536"),
        ({"upstream": "grpc://127.0.0.1:50051"}, "grpc_pass belongs in a server block of your own"),
        ({"upstream": "grpcs://127.0.0.1:50051"}, "grpc_pass belongs in a server block of your own"),
        ({"upstream": "fastcgi://127.0.0.1:9000"}, "snippet: true"),
        ({"upstream": "uwsgi://unix:/run/app.sock"}, "uwsgi_pass"),
        ({"upstream": "https://192.0.2.7:8006"}, "is https, and nothing says which CA"),
        ({"upstream_host": "a b"}, "upstream_host 'a b' is not a host name"),
        ({"upstream_host": "$host"}, "upstream_host '$host'"),
        ({"upstream_host": "a" * 64}, "upstream_host 'aaaa"),
        ({"upstream_host": "-a"}, "upstream_host '-a'"),
        ({"upstream_host": "a b.lan"}, "upstream_host 'a b.lan'"),
        ({"upstream_host": "a.lan:123456"}, "upstream_host 'a.lan:123456'"),
        ({"upstream_host": "a.lan:"}, "upstream_host 'a.lan:'"),
        ({"upstream_host": "app.lan;"}, "upstream_host 'app.lan;'"),
        ({**SNIPPET, "upstream_host": "app.lan"}, "upstream_host belongs in"),
        ({**SNIPPET, "response_buffering": False}, "response_buffering belongs in"),
        ({"upstream": None, "root": "/srv", "upstream_host": "a"}, "upstream_host is about an upstream"),
        ({"listen": ["0"]}, "no port between 1 and 65535"),
        ({"listen": ["65536"]}, "no port between 1 and 65535"),
        ({"listen": ["https"]}, "no port between"),
        ({"listen": ["host:443"]}, "does not start with an IP address"),
        ({"upstream": None}, "neither upstream nor root"),
        ({"root": "/srv"}, "both upstream and root"),
        ({"upstream": "127.0.0.1:80"}, "upstream '127.0.0.1:80'"),
        ({"upstream": "http://a; return 200"}, "upstream"),
        ({"upstream": "http://$host"}, "upstream"),
        ({"upstream": "http://a:123456"}, "upstream"),
        ({"upstream": "http://a:65536"}, "upstream 'http://a:65536' is not of the form"),
        ({"upstream": "http://[::1]:0"}, "upstream 'http://[::1]:0' is not of the form"),
        ({"upstream": "http://[::1::2]"}, "upstream 'http://[::1::2]' is not of the form"),
        ({"upstream": "http://[192.0.2.7]"}, "upstream 'http://[192.0.2.7]' is not of the form"),
        ({"redirect_http": True, "acme_upstream": "http://a:65536"}, "acme_upstream 'http://a:65536' is not of the"),
        ({"upstream": "http://[fe80::1%eth0]:80"}, "upstream"),
        ({"upstream": "http://unix:app.sock"}, "upstream"),
        ({"upstream": None, "root": "srv"}, "root 'srv' is not an absolute path"),
        ({"upstream": None, "root": "/srv/$host"}, "root"),
        ({"upstream": None, "root": "/srv/a b"}, "root"),
        ({"certificate": {"path": "/a.crt", "key": "a.key"}}, "certificate.key 'a.key'"),
        ({"certificate": {"path": "a.crt", "key": "/a.key"}}, "certificate.path 'a.crt'"),
        ({"public_paths": ["open"]}, "public path 'open'"),
        ({"public_paths": ["/"]}, "would open the whole service"),
        ({"public_paths": ["/a/../b"]}, "public path '/a/../b'"),
        ({"public_paths": ["/a/.."]}, "public path '/a/..'"),
        ({"public_paths": ["/a/./b"]}, "public path '/a/./b'"),
        ({"public_paths": ["/a/."]}, "public path '/a/.'"),
        ({"public_paths": ["//a"]}, "public path '//a'"),
        ({"public_paths": ["/%61"]}, "public path '/%61'"),
        ({"public_paths": ['/a"b']}, "public path"),
        ({"public_paths": ["/a;b"]}, "public path"),
        ({"public_paths": ["/a\n"]}, "public path"),
        ({"snippet": True}, "remove them here, or remove snippet"),
        ({**SNIPPET, "root": "/srv"}, "remove them here, or remove snippet"),
        ({**SNIPPET, "certificate": {"path": "/a.crt", "key": "/a.key"}}, "remove them here, or remove snippet"),
        ({**SNIPPET, "certificate": "acme"}, "remove them here, or remove snippet"),
        ({"authority": "/srv/Guests"}, "authority '/srv/Guests' ends in 'Guests'"),
        ({"exempt_networks": ["0.0.0.0/0"]}, "exempt_networks: 0.0.0.0/0 is this host itself"),
        ({"exempt_networks": ["10.0.0.9"], "proxy_protocol_from": ["10.0.0.9"]}, "a proxy's own address is never"),
        ({**SNIPPET, "hsts": {"max_age": 1}}, "hsts belongs in the server block that you have"),
        ({**SNIPPET, "preset": "immich"}, "preset belongs in"),
        ({**SNIPPET, "redirect_http": True}, "redirect_http belongs in"),
        ({**SNIPPET, "http_proxy_protocol": True}, "http_proxy_protocol belongs in"),
        ({"http_proxy_protocol": True, "redirect_http": True}, "http_proxy_protocol is about port 80 behind"),
        ({"http_proxy_protocol": True, "proxy_protocol_from": ["10.0.0.9"]}, "http_proxy_protocol is about port 80"),
        ({"probe_address": "a b"}, "probe_address 'a b' is neither an IP address nor a host name"),
        ({"probe_address": "192.0.2.1:443"}, "probe_address '192.0.2.1:443'"),
        ({**SNIPPET, "proxy_protocol_from": ["10.0.0.9"]}, "proxy_protocol_from belongs in"),
        ({**SNIPPET, "request_buffering": False}, "request_buffering belongs in"),
        ({**SNIPPET, "read_timeout": 5}, "read_timeout belongs in"),
        ({**SNIPPET, "identity_headers": "rfc9440"}, "identity_headers belongs in"),
        ({"upstream": None, "root": "/srv", "max_body_size": "1g"}, "max_body_size is about an upstream"),
        ({"upstream": None, "root": "/srv", "request_buffering": False}, "request_buffering is about an upstream"),
        ({"upstream": None, "root": "/srv", "preset": "immich"}, "max_body_size is about an upstream"),
        ({"max_body_size": "k"}, "max_body_size 'k' is not a size"),
        ({"max_body_size": "g"}, "max_body_size 'g' is not a size"),
        ({"max_body_size": "1t"}, "max_body_size '1t' is not a size"),
        ({"max_body_size": "9999999999g"}, "max_body_size '9999999999g' is not a size"),
        ({"max_body_size": "10g; x"}, "is not a size"),
        ({"read_timeout": 0}, "read_timeout is 0"),
        ({"probe_path": "health"}, "service nas: probe_path 'health' must start with /"),
        ({"probe_path": "None"}, "probe_path 'None'"),
        ({"probe_path": "/a b"}, "probe_path '/a b'"),
        ({"probe_path": "/a?b=c"}, "probe_path '/a?b=c'"),
        ({"probe_path": "/%61"}, "probe_path '/%61'"),
        ({"probe_path": "//a"}, "probe_path '//a'"),
        ({"probe_path": "/a/../b"}, "probe_path '/a/../b'"),
        ({"probe_path": "/a\r\nX: y"}, "probe_path '/a"),
        ({**SNIPPET, "probe_path": "/health"}, "what is behind a snippet is not asked"),
        ({**SNIPPET, "probe_path": "none"}, "probe_path is a page of a server block of ours"),
        ({"hsts": {"max_age": -1}}, "max_age is -1"),
        ({"hsts": {"max_age": 600, "include_subdomains": True, "preload": True}}, "a max_age of 31536000 or more"),
        ({"hsts": {"max_age": 31536000, "preload": True}}, "preload needs include_subdomains"),
        ({"acme_root": "/srv/acme"}, "acme_root needs redirect_http"),
        ({"acme_upstream": "http://127.0.0.1:80"}, "acme_upstream needs redirect_http"),
        ({"redirect_http": True, "acme_root": "/a", "acme_upstream": "http://a"}, "both acme_root and acme_upstream"),
        ({"redirect_http": True, "acme_root": "/srv/$host"}, "acme_root '/srv/$host'"),
        ({"redirect_http": True, "acme_upstream": "http://a/x"}, "acme_upstream 'http://a/x'"),
        ({"redirect_http": True, "acme_upstream": "https://a"}, "acme_upstream 'https://a' is https"),
        ({"redirect_http": True, "acme_upstream": "a;b"}, "acme_upstream 'a;b'"),
        ({"redirect_http": True, "server_names": ["192.0.2.7"]}, "it is reached by IP address"),
        ({"redirect_http": True, "listen": ["80"]}, "needs port 80, on which it listens itself"),
        ({"paths": [{"path": "/", "allow": []}]}, "paths: '/'"),
        ({"paths": [{"path": "/admin", "allow": []}]}, "must start and end with /"),
        ({"paths": [{"path": "admin/", "allow": []}]}, "paths: 'admin/'"),
        ({"paths": [{"path": "/a//b/", "allow": []}]}, "paths: '/a//b/'"),
        ({"paths": [{"path": "/a./", "allow": []}]}, "paths: '/a./'"),
        ({"paths": [{"path": "/a/../b/", "allow": []}]}, "paths: '/a/../b/'"),
        ({"paths": [{"path": "/%61/", "allow": []}]}, "paths: '/%61/'"),
        ({"paths": [{"path": "/é/", "allow": []}]}, "paths: '/é/'"),
        ({"paths": [{"path": '/a"/', "allow": []}]}, "be written plainly"),
        ({"paths": [{"path": "/a/\n", "allow": []}]}, "be written plainly"),
        ({"paths": [{"path": "/a/", "allow": []}] * 2}, "paths names '/a/' twice"),
        ({"paths": [{"path": "/a/", "allow": []}, {"path": "/A/", "allow": []}]}, "paths names '/a/' twice ('/A/')"),
        ({"preset": "admin_panel"}, "the preset admin_panel wants an allow list"),
        ({"preset": "admin_panel", "allow": [], "public_paths": ["/x"]}, "allows no public_paths"),
        ({"preset": "admin_panel", "allow": [], "exempt_networks": ["10.0.0.0/8"]}, "allows no exempt_networks"),
        ({"preset": "admin_panel", "allow": [], "cors_preflight": True}, "allows no cors_preflight"),
        ({"snippet": True, "upstream": None, "server_names": ["192.0.2.1"]}, "sends no server name"),
    ],
)
def test_refused_with_host_service_and_reason(changes, said):
    with pytest.raises(MtlsError) as caught:
        parse(service(**changes))
    assert "host web1" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"server_names": ["a", "7.es", "a-b-9.x-15y.ab7", "*.a.es", "a" * 63 + ".es", "192.0.2.7"]},
        {"upstream": "https://app-1.lan", "upstream_tls": {"verify": False, "ca": None, "name": None, "client": None}},
        {"upstream": "http://app:80/~a/b-c/%20+d.e"},
        {"upstream_host": "App-1.z_9.lan"},
        {"upstream_host": "a" * 63 + ".lan:65535"},
        {"upstream_host": "[2001:DB8:af09::1.2.3.4]"},
        {"upstream_host": "[::1]:80"},
        {"upstream": "http://[2001:DB8::f9]"},
        {"upstream": "http://[::1]:8080/x"},
        {"upstream": "http://[::ffff:192.0.2.7]:1"},
        {"upstream": "http://a:65535"},
        {"redirect_http": True, "acme_upstream": "http://a:65535"},
        {"upstream": "http://unix:/run/my-app/app.sock"},
        {"certificate": {"path": "/etc/a-b/c@d%e+f~1.crt", "key": "/k"}},
        {"public_paths": ["/~a/b-c,d!e=f:g@h+i.j"]},
        {"paths": [{"path": "/-a.b~c-d-/_/", "allow": []}]},
        {"max_body_size": "512K"},
        {"max_body_size": "0"},
        {"read_timeout": 1},
        {"public_port": 1},
        {"public_port": 65535},
        {"listen": ["1", "65535"]},
        {"hsts": {"max_age": 0}},
        {"hsts": {"max_age": 31536000, "include_subdomains": True, "preload": True}},
        {"authority": "/srv/guests/"},
        {"probe_address": "fe80::1%eth0"},
        {"http_proxy_protocol": False, **SNIPPET, "redirect_http": False, "proxy_protocol_from": []},
    ],
)
def test_what_may_be_said(changes):
    parse(service(**changes))


def test_what_is_named_twice_counts_once():
    """For nginx a server name that is there twice is taken, and a second block of one location an error."""
    (nas,) = parse(service(server_names=["nas.lan", "NAS.lan"], public_paths=["/open/", "/a", "/open/"]))
    assert (nas.server_names, nas.public_paths) == (("nas.lan",), ("/open/", "/a"))


@pytest.mark.parametrize(
    ("upstream", "name"),
    [
        ("http://app.lan", "app.lan"),
        ("https://my-app:8443/x/y", "my-app"),
        ("http://a:80", "a"),
        ("http://unixes/x", "unixes"),
        ("http://192.0.2.7:80", None),
        ("http://[2001:db8::1]:80", None),
        ("http://unix:/run/app.sock", None),
    ],
)
def test_the_host_name_of_an_upstream(upstream, name):
    assert host_name(upstream) == name


def test_strict_transport_security():
    (nas,) = parse(service(hsts={"max_age": 600}))
    assert nas.hsts.value == "max-age=600"
    (nas,) = parse(service(hsts={"max_age": 31536000, "include_subdomains": True, "preload": True}))
    assert nas.hsts.value == "max-age=31536000; includeSubDomains; preload"


def test_what_a_service_is_unless_it_is_said():
    (nas,) = parse(service())
    assert not nas.certificate_is_optional
    assert not nas.may_stand_in
    assert nas.probe_name == "nas.example.com"
    assert (nas.trust, nas.upstream_client) == ("", None)
    assert nas.lists("a", None)
    assert nas.subjects == ()


def test_what_it_is_otherwise():
    for said in ({"public_paths": ["/a"]}, {"exempt_networks": ["10.1.0.0/16"]}, {"cors_preflight": True}):
        assert parse(service(**said))[0].certificate_is_optional
    own = {"certificate": {"path": "/a.crt", "key": "/a.key"}}
    assert parse(service(**own))[0].may_stand_in
    assert not parse(service(**own, state="absent"))[0].may_stand_in
    assert not parse(service(**SNIPPET))[0].may_stand_in
    assert parse(service(server_names=["*.lan", "b"]))[0].probe_name == "mtls-probe.lan"
    assert parse(service(authority="/srv/guests/"))[0].trust == "guests"
    (nas,) = parse(service(allow=["a"]))
    assert [nas.lists(name, None) for name in "ab"] == [True, False]
    assert parse(service(**SNIPPET, listen="192.0.2.1:443"))[0].own_address is None
    assert parse(service(state="absent", listen="192.0.2.1:443"))[0].own_address is None


def test_two_authorities_need_two_names_on_a_host():
    one, other = service(authority="/srv/a/guests"), service(name="b", server_names=["b"], authority="/srv/b/guests")
    with pytest.raises(MtlsError, match=r"host web1: the authorities of services nas and b, /srv/a/guests and /srv/b/"):
        parse(one, other)
    parse(one, {**other, "authority": "/srv/b/people"})
    parse(one, {**other, "authority": "/srv/a/guests"})


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"server_names": ["other"]}, "two services are named 'nas'"),
        ({"name": "b"}, "both answer to nas.example.com on port 443"),
        ({"name": "b", "listen": "127.0.0.1:443"}, "both answer to"),
        ({"name": "b", "server_names": ["NAS.example.com"]}, "both answer to"),
    ],
)
def test_services_that_clash(second, said):
    with pytest.raises(MtlsError, match="host web1") as caught:
        parse(service(), service(**second))
    assert said in str(caught.value)


def test_two_services_by_address_on_one_port_clash():
    with pytest.raises(MtlsError, match="only one service per port"):
        parse(service(server_names=["192.0.2.1"]), service(name="b", server_names=["192.0.2.2"]))


def test_a_snippet_is_in_nobodys_way():
    snippet = service(name="b", **SNIPPET)
    parse(snippet, service())
    parse(service(), snippet)
    with pytest.raises(MtlsError, match=r"services nas and c both answer to nas\.example\.com on port 443"):
        parse(snippet, service(), service(name="c"))


def test_what_only_looks_like_a_clash():
    parse(service(server_names=["192.0.2.1"]), service(name="b", server_names=["b"]))
    parse(service(server_names=["b"]), service(name="b", server_names=["192.0.2.1"]))
    proxied = {"redirect_http": True, "http_proxy_protocol": True, "proxy_protocol_from": ["10.0.0.9"]}
    parse(service(**proxied), service(name="b", server_names=["b"], proxy_protocol_from=["10.0.0.9"]))
    parse(
        service(listen="192.0.2.1:443", redirect_http=True),
        service(name="b", listen="192.0.2.2:443", redirect_http=True),
    )
    parse(service(), service(name="b", listen="8443"))
    parse(service(listen="127.0.0.1:443"), service(name="b", listen="127.0.0.2:443"))
    parse(service(), service(name="b", state="absent"))


def test_an_absent_service_needs_no_content():
    (gone,) = parse(service(upstream=None, state="absent"))
    assert not gone.present
    assert not gone.issued_by_authority


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"proxy_protocol_from": ["10.0.0.9"]}, "only one has proxy_protocol_from"),
        ({"redirect_http": True, "listen": "8443"}, None),
        ({"redirect_http": True, "listen": "127.0.0.1:8443", "server_names": ["nas.example.com"]}, "both redirect nas"),
    ],
)
def test_services_that_share_a_port(second, said):
    others = (service(redirect_http=True), service(name="b", **{"server_names": ["b.example.com"], **second}))
    for pair in (others, others[::-1]):
        if said is None:
            parse(*pair)
        else:
            with pytest.raises(MtlsError, match="host web1: services ") as caught:
                parse(*pair)
            assert said in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (Endpoint(443), Endpoint(443), True),
        (Endpoint(443), Endpoint(443, "192.0.2.1"), True),
        (Endpoint(443), Endpoint(443, "2001:db8::1"), True),
        (Endpoint(443), Endpoint(443, "::"), True),
        (Endpoint(443), Endpoint(8443), False),
        (Endpoint(443, "0.0.0.0"), Endpoint(443, "192.0.2.1"), True),
        (Endpoint(443, "0.0.0.0"), Endpoint(443, "2001:db8::1"), False),
        (Endpoint(443, "0.0.0.0"), Endpoint(443, "::"), False),
        (Endpoint(443, "::"), Endpoint(443, "2001:db8::1"), True),
        (Endpoint(443, "192.0.2.1"), Endpoint(443, "192.0.2.1"), True),
        (Endpoint(443, "192.0.2.1"), Endpoint(443, "192.0.2.2"), False),
    ],
)
def test_which_sockets_overlap(one, other, overlap):
    assert one.overlaps(other) is overlap
    assert other.overlaps(one) is overlap


@pytest.mark.parametrize("listens", [("127.0.0.1:443", "0.0.0.0:443"), ("127.0.0.1:443", "127.0.0.2:443", "443")])
def test_one_name_on_sockets_that_overlap(listens):
    with pytest.raises(MtlsError, match=r"services a and [bc] both answer to nas\.example\.com on port 443"):
        parse(*(service(name=name, listen=listen) for name, listen in zip("abc", listens, strict=False)))


def test_port_80_has_one_protocol():
    proxied = {"redirect_http": True, "proxy_protocol_from": ["10.0.0.9"]}
    with pytest.raises(MtlsError, match="only one has http_proxy_protocol"):
        parse(
            service(**proxied, http_proxy_protocol=True),
            service(name="b", server_names=["b.example.com"], **proxied),
        )


@pytest.mark.parametrize(
    ("listen", "own", "loopback", "local"),
    [
        ("443", None, False, "127.0.0.1"),
        ("0.0.0.0:443", None, False, "127.0.0.1"),
        ("[::]:443", None, False, "::1"),
        ("192.0.2.1:443", "192.0.2.1", False, "192.0.2.1"),
        ("127.0.0.8:443", "127.0.0.8", True, "127.0.0.8"),
        ("[::1]:443", "::1", True, "::1"),
    ],
)
def test_where_it_can_be_asked(listen, own, loopback, local):
    (one,) = parse(service(listen=listen, redirect_http=True))
    assert (one.own_address, one.at_loopback, one.local_address) == (own, loopback, local)
    assert one.plain_target("192.0.2.9") == probe.Target("192.0.2.9", 80, one.probe_name, tls=False)
    assert parse(service())[0].plain_target("192.0.2.9") is None


def test_a_redirect_needs_port_80_for_itself():
    with pytest.raises(MtlsError, match="redirects from port 80, on which the second listens"):
        parse(service(redirect_http=True), service(name="b", server_names=["b"], listen="80"))


def test_a_preset_says_what_the_service_does_not():
    (nas,) = parse(service(preset="nextcloud", read_timeout=5, max_body_size=None))
    assert (nas.max_body_size, nas.request_buffering, nas.read_timeout) == ("10g", False, 5)
    (nas,) = parse(service(preset="nextcloud", request_buffering=True))
    assert nas.request_buffering is True


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_opens_nothing(preset):
    (nas,) = parse(service(preset=preset, allow=["a"]))
    assert (nas.public_paths, nas.exempt_networks) == ((), ())
    assert (nas.cors_preflight, nas.redirect_http) == (False, False)
    assert nas.allow == AllowList(("a",))
    assert not PRESETS[preset].keys() & {"allow", "paths", "state", "snippet"}


@pytest.mark.parametrize(
    ("said", "path"), [({}, "/"), ({"probe_path": "/a.b/c"}, "/a.b/c"), ({"probe_path": "none"}, None)]
)
def test_which_page_is_asked_for(said, path):
    assert parse(service(**said))[0].probe_path == path


def test_no_page_of_a_snippet_is_asked_for():
    """The specification's default comes with it."""
    (snippet,) = parse(service(**SNIPPET, probe_path="/"))
    assert snippet.probe_path is None
    assert not snippet.opens_page("a", None)


@pytest.mark.parametrize(
    ("path", "opens"),
    [
        ("/", ["a", "b", "c"]),
        ("/open", ["a", "b", "c"]),
        ("/admin", ["a"]),
        ("/admin/x", ["a"]),
        ("/Admin/x", ["a"]),  # may be read as that
        ("/admin.json", ["a"]),
        ("/admi", ["a", "b", "c"]),
        ("/admin/deep/x", []),  # of two lists that name nobody in common
        ("none", []),
    ],
)
def test_who_may_be_sent_to_the_page(path, opens):
    lists = [{"path": "/admin/", "allow": ["a"]}, {"path": "/admin/deep/", "allow": ["b"]}]
    (nas,) = parse(service(allow=["a", "b", "c"], paths=lists, probe_path=path))
    assert [name for name in ("a", "b", "c", None) if nas.opens_page(name, None)] == [
        *opens,
        *([None] if "c" in opens else []),
    ]


def test_whether_clients_renew_here():
    def renews(**said):
        raw = [{**service(), **said}]
        return [parse_services("nas", raw, self_renewal=everywhere)[0].self_renewal for everywhere in (False, True)]

    assert renews() == [False, True]
    assert renews(self_renewal=True) == [True, True]
    assert renews(self_renewal=False) == [False, False]


@pytest.mark.parametrize("path", ["/.mtls", "/.mtls/", "/.mtls/renewal.p12"])
def test_no_public_path_where_clients_renew(path):
    with pytest.raises(MtlsError, match=f"public path '{path}' is where clients fetch their next certificate; remove"):
        parse(service(public_paths=[path], self_renewal=True))
    assert parse(service(public_paths=[path]))
    assert parse(service(public_paths=["/.mtls-public/"], self_renewal=True))


def test_everybody_whom_a_list_names():
    lists = [{"path": "/a/", "allow": ["c", "a"]}, {"path": "/b/", "allow": []}]
    assert parse(service(allow=["a", "b"], paths=lists))[0].named == ("a", "b", "c")
    assert parse(service(paths=lists))[0].named == ("c", "a")
