# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts may answer: an honest answer passes as it is, and a lie in any field of it is refused or made harmless."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import OwnBound, parse_time
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers

SNIPPET_GATE = {
    "service": "photos",
    "place": "/etc/nginx/sites-enabled/photos, line 2",
    "port": 443,
    "server_name": "photos.example.com",
    "address": "192.0.2.10",
    "proxy_protocol": False,
    "own_pages": True,
    "trouble": None,
}
UNGUARDED = {"service": "photos", "path": "/etc/nginx/snippets/mtls-photos.conf"}
ELSEWHERE = {"service": "nas", "why": "at 192.0.2.7:443, /etc/nginx/conf.d/own.conf, line 2 answers in its place"}
OWN = {"value": "10m", "file": "/etc/nginx/nginx.conf"}
HONEST = {
    "nginx_facts": (
        answers.NGINX_FACTS,
        {
            "changed": False,
            "nginx": {
                "installed": True,
                "binary": "/usr/sbin/nginx",
                "version": "1.22.1",
                "conf_path": "/etc/nginx/nginx.conf",
                "conf_dir": "/etc/nginx",
                "running": True,
                "upgrading": False,
                "includes_conf_d": True,
                "config_error": '[emerg] unknown directive "sever" in /etc/nginx/sites-enabled/shop:1',
                "unguarded": ["/etc/nginx/snippets/mtls-photos.conf"],
                "snippet_gates": [SNIPPET_GATE],
                "snippet_error": None,
                "elsewhere": [ELSEWHERE],
                "socket_error": "service nas: nas.test is served in /etc/nginx/conf.d/own.conf, line 2 as well",
                "directives": {
                    "client_header_timeout": None,
                    "map_hash_bucket_size": "128",
                    "resolver": "192.0.2.53 valid=10s",
                    "server_names_hash_bucket_size": "128",
                    "set_real_ip_from": None,
                    "ssl_session_cache": "shared:SSL:10m",
                    "variables_hash_bucket_size": None,
                    "variables_hash_max_size": None,
                    "worker_shutdown_timeout": None,
                },
                "away": ["192.0.2.10"],
                "asked": [{"status": 400, "error": None}, {"status": None, "error": "connection refused"}],
                "ssi": True,
                "own_ports": [80, 8443],
                "ipv6": True,
                "systemd": True,
                "name_servers": ["192.0.2.53", "[2001:db8::53]"],
                "names": {"app.example.com": "app.example.com", "localhost": None},
                "kept": {"pool": True},
                "system_ca": "/etc/ssl/certs/ca-certificates.crt",
                "comparison": {
                    "settled": True,
                    "fingerprints": {
                        "/etc/nginx/client-certs/ca.crt": f"0644 {'0' * 64}",
                        "/etc/nginx/conf.d/mtls.conf": "not ours",
                        "/etc/nginx/snippets/mtls-nas.conf": None,
                    },
                    "own_shutdown_timeout": OWN,
                    "unguarded": [UNGUARDED],
                    "snippet_gates": [SNIPPET_GATE],
                },
                "certificates": {
                    "nas": {
                        "path": "/etc/letsencrypt/live/nas/fullchain.pem",
                        "state": "unfit",
                        "why": "/etc/letsencrypt/live/nas/fullchain.pem: expired on 2026-11-28",
                        "in_use": True,
                        "stale": False,
                        "fingerprint": "6" * 64,
                        "end": 1796310000,
                    }
                },
                "acme": {"outdated": ["mtls-nas"], "abandoned": []},
                "python": "/usr/bin/python3",
                "trust": {
                    "clock": 1796310000.5,
                    "held": {
                        "/etc/nginx/client-certs/ca.crt": {
                            "certificates": [
                                {"subject": "CN=CA", "fingerprint": "1" * 64, "key": "2" * 64, "begin": 0, "end": 9}
                            ],
                            "crls": [
                                {
                                    "issuer": "CN=CA",
                                    "name": "3" * 64,
                                    "key_identifier": "",
                                    "number": "8000000000000001",
                                    "begin": 0,
                                    "end": None,
                                    "content": "4" * 64,
                                }
                            ],
                        }
                    },
                },
                "init_script": None,
                "crl_fetch": {"digest": "5" * 64, "success": 1796310000.5, "failures": ["https://a/: answers 404"]},
            },
        },
    ),
    "nginx_config": (
        answers.NGINX_CONFIG,
        {
            "changed": True,
            "warnings": ["/var/lib/metrics/mtls_nginx.prom: permission denied"],
            "files": [{"path": "/etc/nginx/conf.d/mtls.conf", "change": "created"}],
            "reloaded": True,
            "started": False,
            "accepted": True,
            "own_shutdown_timeout": OWN,
            "unguarded": [UNGUARDED],
            "snippet_gates": [SNIPPET_GATE],
            "elsewhere": [ELSEWHERE],
            "handover": "127.0.0.1:443 cannot be opened while nginx holds 0.0.0.0:443",
            "nginx": {"version": "1.25.3.1"},
            "access": {
                "gates": [
                    {
                        "service": "nas",
                        "path": "/admin/",
                        "everybody": False,
                        "subjects": ["CN=iphone-admin"],
                        "public": ["/.well-known/"],
                        "networks": ["192.0.2.0/24"],
                    }
                ],
                "revoked": [{"path": "/etc/nginx/client-certs/revoked.map", "added": ["1003"], "removed": ["0A"]}],
            },
            "message": "files: 1 created; nginx reloaded",
            "diff": [
                {"before_header": "a", "after_header": "b (mode 0644)", "before": "a\n\tb\n", "after": "map {\n\t}\n"}
            ],
        },
    ),
    "nginx_gate": (
        answers.NGINX_GATE,
        {
            "changed": False,
            "gate": {
                "clock": 1796310000.5,
                "running": True,
                "configured": True,
                "included": None,
                "snippet_gates": [SNIPPET_GATE],
                "allow": {"everybody": False, "subjects": ["CN=iphone-admin"]},
                "certificate": "8" * 64,
                "ca": "0" * 64,
                "crl": None,
                "crl_begin": 1796300000,
                "crl_end": 1798900000,
                "revoked": False,
                "requests": [
                    {
                        "when": "23/Nov/2026:18:33:01 +0000",
                        "status": 400,
                        "verify": "FAILED:certificate revoked",
                        "serial": "02",
                        "probe": False,
                        "agent": "curl/8.5.0",
                    }
                ],
                "without": [{"when": "23/Nov/2026:18:33:02 +0000", "caller": "192.0.2.7", "agent": "Mozilla/5.0"}],
                "http3": False,
                "errors": ["2026/11/23 18:33:01 [info] 7#7: *1 SSL_do_handshake() failed"],
                "unread": ["/var/log/nginx/mtls-nas.access.log.1.xz"],
            },
        },
    ),
    "nginx_crl_fetch": (
        answers.NGINX_CRL_FETCH,
        {"changed": True, "message": "the CRL is fetched every 60 minutes", "warnings": ["the first time failed"]},
    ),
    "nginx_acme": (
        answers.NGINX_ACME,
        {
            "changed": True,
            "installed": True,
            "failures": ["service nas: no certificate was obtained"],
            "obtained": ["wiki"],
            "warnings": ["certbot's package has no timer"],
        },
    ),
    "nginx_crls": (
        answers.NGINX_CRLS,
        {
            "changed": False,
            "warnings": ["/etc/nginx/client-certs/old/crl.pem: too many levels of symbolic links"],
            "crls": [
                {
                    "path": "/etc/nginx/client-certs/crl.pem",
                    "content": "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n",
                }
            ],
        },
    ),
    "access_log": (
        answers.ACCESS_LOG,
        {
            "changed": False,
            "warnings": ["log/mtls-nas.access.log.2.gz: is a symbolic link, and is not read"],
            "unread": ["/var/log/nginx/mtls-nas.access.log.2.zst"],
            "callers": [
                {
                    "service": "photos",
                    "serial": "5A3F1D0C4B9E8877665544332211009988776655",
                    "dn": "CN=iphone-admin",
                    "last": "2026-11-23T14:39:00Z",
                    "status": 200,
                    "requests": 42,
                    "fetched": "2026-11-23T14:38:00Z",
                }
            ],
        },
    ),
    "setup": (answers.PACKAGE_MANAGER, {"ansible_facts": {"ansible_pkg_mgr": "apt"}}),
    "apt": (answers.CHANGED, {"changed": True}),
    "live": (
        answers.LIVE,
        {
            "facts": {
                "unreachable": None,
                "msg": None,
                "nginx": {
                    "installed": True,
                    "running": True,
                    "version": "1.22.1",
                    "config_error": None,
                    "includes_conf_d": True,
                    "unguarded": [],
                    "snippet_error": None,
                    "elsewhere": [],
                    "socket_error": None,
                    "crl_fetch": None,
                    "certificates": None,
                },
            },
            "trust": {"msg": None, "asked": True, "behind": ["crl.pem does not list what /srv/pki has revoked: phone"]},
            "probe": {
                "msg": None,
                "skipped": None,
                "not_asked": [{"service": "photos", "why": "it could not be asked: connection refused"}],
                "unanswered": [{"service": "wiki", "why": "the gate opens, but http://a does not answer (502)"}],
                "certificates": [
                    {
                        "service": "nas",
                        "issuer": "CN=R11,O=Let's Encrypt,C=US",
                        "fingerprint": "7" * 64,
                        "names": ["nas.example.com"],
                        "begin": 1796310000,
                        "end": 1796310000,
                        "own": True,
                        "stands_in": False,
                        "trouble": None,
                    }
                ],
                "attempts": [{"service": "nas", "who": "nobody", "expected": "400", "got": "400", "ok": True}],
            },
        },
    ),
}
HONEST["nginx_glance"] = (answers.NGINX_GLANCE, {"changed": False, "nginx": None})
NESTED: list = []
for _depth in range(500):
    NESTED = [NESTED]
LIES = {
    "null": None,
    "true": True,
    "a number": 1,
    "a huge number": 10**400,
    "a negative number": -1,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "text": "text",
    "nothing": "",
    "a template": "{{ lookup('pipe', 'touch /tmp/harmless') }}",
    "an escape": "a\x1b[2J\x9b31mb",
    "a line more": "1.22.1\n",
    "another direction": "a\u202eb",
    "half a pair": "\ud800",
    "huge text": "9" * (answers.LARGEST // 1000),
    "digits of elsewhere": "\u0661.\u0662",
    "a superscript": "²",
    "a list": ["text"],
    "nested deeply": NESTED,
    "a dictionary": {"a\x1b": {}},
    "variables": {"mtls_ca_dir": "/nowhere", "ansible_connection": "local"},
}


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The way to each value of an answer, and to the answer itself."""
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*path, key))


def with_lie(answer: object, path: tuple, lie: object) -> object:
    if not path:
        return lie
    answer = place = copy.copy(answer)
    for key in path[:-1]:
        below = place[key] = copy.copy(place[key])
        place = below
    place[path[-1]] = lie
    return answer


OF_MANY_LINES = ("before", "after", "content", "msg", "module_stdout", "module_stderr")


def assert_harmless(value: object) -> None:
    """Whatever is let through can be printed, written and reckoned with."""
    assert_each_harmless(value)
    json.dumps(value, allow_nan=False)


def assert_each_harmless(value: object, *, lines: bool = False) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            assert_each_harmless(key)
            assert_each_harmless(item, lines=key in OF_MANY_LINES)
    elif isinstance(value, list):
        for item in value:
            assert_each_harmless(item)
    elif isinstance(value, str):
        assert value.__class__ is str  # nothing that Ansible has tagged
        assert (value.replace("\n", "").replace("\t", "") if lines else value).isprintable()
        value.encode()
    else:
        assert value is None or type(value) in (bool, int, float)
        assert value is None or -(2**53) <= value <= 2**53


def outcome(work: Callable[[], dict]) -> tuple[dict | None, str]:
    """What was read, or why not."""
    try:
        return work(), ""
    except MtlsError as error:
        return None, str(error)


def lied_to(module: str, lie: object) -> Iterator[tuple[dict | None, str]]:
    """What comes of an honest answer with the lie in one place after the other."""
    spec, answer = HONEST[module]
    for path in places(answer):
        lying = with_lie(answer, path, lie)
        yield outcome(lambda lying=lying: answers.read("nas", module, spec, lying))


@pytest.mark.parametrize("module", HONEST)
def test_an_honest_answer_passes_as_it_is(module):
    spec, answer = HONEST[module]
    assert answers.read("nas", module, spec, answer) == answer
    # Whatever else is in it is dropped, in every place.
    noise = {"ansible_facts": {"mtls_ca_dir": "/nowhere"}, "deprecations": ["\x1b"], "add_host": {}, "invocation": {}}
    if module != "setup":
        assert answers.read("nas", module, spec, {**answer, **noise}) == answer
    more = copy.deepcopy(answer)
    for path in places(answer):
        place = more
        for key in path:
            place = place[key]
        tables = ("fingerprints", "held", "names", "kept", "certificates")
        if isinstance(place, dict) and not (path and path[-1] in tables):
            place["mtls_more"] = "{{ 1 }}"
    assert answers.read("nas", module, spec, more) == answer


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("module", HONEST)
def test_a_lie_in_any_place_is_refused_or_made_harmless(module, lie):
    outcomes = list(lied_to(module, LIES[lie]))
    for found, said in outcomes:
        assert_harmless(found)
        if found is None:
            assert said.startswith(f"host nas: its answer to {module} cannot be trusted: ")
            assert len(said) < 1000
            assert said.isprintable()
    assert any(said for _found, said in outcomes), f"no place of {module} has anything against {lie}"


@pytest.mark.parametrize("lie", LIES)
def test_what_is_let_through_can_be_reckoned_with(lie):
    """The places where the controller computes with what a host says."""
    for found, _said in lied_to("nginx_facts", LIES[lie]):
        if found is None:
            continue
        nginx = found["nginx"]
        tuple(int(part) for part in (nginx["version"] or "0").split("."))
        for value in filter(None, nginx["directives"].values()):
            parse_time(value)
            assert not value.isdigit() or int(value) >= 0
        if nginx["comparison"] and nginx["comparison"]["own_shutdown_timeout"]:
            OwnBound(**nginx["comparison"]["own_shutdown_timeout"]).warning(60)
    for found, _said in lied_to("nginx_gate", LIES[lie]):
        for name in ("clock", "crl_begin", "crl_end") if found else ():
            assert datetime.fromtimestamp(found["gate"][name] or 0, UTC).year <= 9999


@pytest.mark.parametrize("left_out", [path for path in places(HONEST["nginx_facts"][1]) if path and path[-1] != 0])
def test_what_is_left_out_is_null_or_refused(left_out):
    answer = copy.deepcopy(HONEST["nginx_facts"][1])
    place = answer
    for key in left_out[:-1]:
        place = place[key]
    del place[left_out[-1]]
    found, said = outcome(lambda: answers.read("nas", "nginx_facts", answers.NGINX_FACTS, answer))
    assert_harmless(found)
    assert found or left_out[-1] in said


def test_a_failure_is_its_message_and_no_more():
    failure = {
        "failed": True,
        "msg": "nginx: \x1b[31mno\nsuch file",
        "rc": 1,
        "module_stderr": "Traceback \x9b2J\n",
        "exception": "Traceback",
        "ansible_facts": {"mtls_revoke": "phone"},
        "invocation": {"module_args": {}},
        "warnings": ["\x1b"],
        "results": [],
    }
    assert answers.read("nas", "nginx_config", answers.NGINX_CONFIG, failure) == {
        "failed": True,
        "changed": False,
        "msg": "nginx: \\x1b[31mno\nsuch file",
        "rc": 1,
        "module_stderr": "Traceback \\x9b2J\n",
    }
    for rc, is_read in {-(2**31): True, 2**32: True, -(2**31) - 1: False, 2**32 + 1: False}.items():
        found, _said = outcome(
            lambda rc=rc: answers.read("nas", "apt", answers.CHANGED, {**failure, "rc": rc, "module_stdout": "a\nb"})
        )
        assert (found is not None and (found["rc"], found["module_stdout"]) == (rc, "a\nb")) is is_read
    silent = answers.read("nas", "nginx_config", answers.NGINX_CONFIG, {"failed": {"a": 1}})
    assert silent == {"failed": True, "changed": False, "msg": "nginx_config failed on nas and did not say why"}
    for lie in LIES.values():
        for name in failure:
            lying = {**failure, name: lie}
            found, _said = outcome(lambda lying=lying: answers.read("nas", "nginx_config", answers.NGINX_CONFIG, lying))
            assert_harmless(found)


def test_text_for_people():
    assert answers.printable("grün\r\n\tend", lines=True) == "grün\n\tend"
    assert answers.printable("a\rb\n", lines=True) == "a\\rb\n"
    assert answers.printable("a\nb") == "a\\nb"
    assert answers.printable("x" * 12, most=10) == "xxxxxxxxxx… (2 more characters)"


def test_a_live_answer_may_lack_a_task():
    assert answers.read_live("nas", {})["facts"]["nginx"] is None
    assert answers.read_live("nas", {"facts": {"unreachable": True, "msg": "no\x1b"}})["facts"]["msg"] == "no\\x1b"
    for lie in LIES.values():
        found, said = outcome(lambda lie=lie: answers.read_live("nas", lie))
        assert_harmless(found)
        assert found or said.startswith("host nas: its answer to status cannot be trusted: ")


# --- each kind of value, to its last character and second

YEAR_9999 = 253402300799
LIMITS = {
    "text": (answers.Text(), "x" * 4096, "x" * 4097),
    "text of a length": (answers.Text(most=3), "abc", "abcd"),
    "text that is empty": (answers.Text(most=0), "", "a"),
    "text of a form": (answers.Text("[a-c]+"), "abc", "abcx"),
    "text of an ASCII form": (answers.Text(r"\d+"), "123", "12\u0663"),
    "text of one line": (answers.Text(), "a b~", "a\nb"),
    "ASCII": (answers.Ascii(3), "a~\n", "a~\nb"),
    "ASCII, without control characters": (answers.Ascii(9), "a b\n", "a\x1bb"),
    "ASCII, without tabs": (answers.Ascii(9), " !\n~", "\t"),
    "ASCII, without others": (answers.Ascii(9), "~", "\x7f"),
    "a number": (answers.Whole(), 0, -1),
    "a large number": (answers.Whole(), 2**53, 2**53 + 1),
    "a number of a range": (answers.Whole(3, 5), 5, 6),
    "a number of a range, from its beginning": (answers.Whole(3, 5), 3, 2),
    "a number, not a truth": (answers.Whole(), 1, True),
    "a moment": (answers.Moment(), 0, -0.5),
    "a late moment": (answers.Moment(), YEAR_9999, YEAR_9999 + 1),
    "a moment, not a truth": (answers.Moment(), 1.5, True),
    "a moment that is a number": (answers.Moment(), 1.5, float("nan")),
    "a time": (answers.Timestamp(), "2026-02-28T23:59:59Z", "2026-02-29T00:00:00Z"),
    "a list of a length": (answers.Each(answers.Flag(), most=2), [True, False], [True, False, True]),
    "a list, not text": (answers.Each(answers.Text()), ["a"], "a"),
    "a list, not octets": (answers.Each(answers.Whole()), [1], b"a"),
    "a table of a length": (answers.Table(answers.Text(), answers.Flag(), most=1), {"a": True}, {"a": True, "b": True}),
    "a table with names of a form": (answers.Table(answers.Text("[a-c]"), answers.Flag()), {"a": True}, {"d": True}),
    "a truth": (answers.Flag(), False, 0),
}


@pytest.mark.parametrize("what", LIMITS)
def test_each_kind_of_value_ends_where_it_says(what):
    spec, good, odd = LIMITS[what]
    assert spec.read(good, "it") == good
    with pytest.raises(answers._Odd, match=r"^(?:it|a name in it)"):
        spec.read(odd, "it")


def test_long_values_are_named_by_their_length():
    for spec, value in ((answers.Text(most=3), "abcd"), (answers.Ascii(3), "abcd")):
        with pytest.raises(answers._Odd, match="it has 4 characters, and at most 3 are possible"):
            spec.read(value, "it")
    for spec, value in (
        (answers.Each(answers.Whole(), 1), [1, 2]),
        (answers.Table(answers.Text(), answers.Whole(), 1), {"a": 1, "b": 2}),
    ):
        with pytest.raises(answers._Odd, match="it has 2 entries, and at most 1 are possible"):
            spec.read(value, "it")


def test_messages_are_cut_after_ten_thousand_characters():
    assert answers.Message().read("x" * 10_000, "it") == "x" * 10_000
    assert answers.Message().read("x" * 10_001, "it") == "x" * 10_000 + "… (1 more characters)"
    assert answers.Message(most=3).read("abcde", "it") == "abc… (2 more characters)"
    assert answers.Message(lines=True).read("a\r\nb\tc\x1b", "it") == "a\nb\tc\\x1b"
    assert answers.LARGEST == 128 * 1024 * 1024
    assert answers.Each(answers.Flag()).most == answers.Table(answers.Text(), answers.Flag()).most == 1_000_000


# --- each place of an answer, to the last thing that may stand there

HEX = "0123456789abcdef"
NAME_OF_A_SERVICE = (["a-0", "mz5-9", "a" * 64], ["", "a" * 65, "A", "a_b", "a.b"])
NAME_OF_A_FILE = (["a_b.c-d", "A5"], ["", "a b", "a/b", "é"])
SERIAL = (["0123456789ABCDEF" * 4, "F"], ["", "0123456789ABCDEF" * 4 + "0", "G", "a", "-1", "--"])
WHEN = (
    ["23/Nov/2026:18:33:01 +0000", "1/Dec/26:18:33:01 -0"],
    ["1/Dec/26:18:33:01 -", "x" * 27, "x" * 20 + ",", "é" * 22],
)
PORT = ([1, 65535], [0, 65536])
DATE = ([-YEAR_9999, YEAR_9999], [-YEAR_9999 - 1, YEAR_9999 + 1])
PLACES = {
    "nginx_gate gate.certificate": ([HEX * 4], [HEX * 4 + "0", (HEX * 4)[1:], "g" * 64, "A" * 64, "-" * 64]),
    "nginx_facts nginx.version": (
        ["1.22", "1.2.3.4.5.6", "1234.1234"],
        ["1", "12345.1", "1.12345", ".1", "1.", "1..2", "1.2.3.4.5.6.7", "1x22", "1.2.3x4"],
    ),
    "nginx_facts nginx.snippet_gates.[].server_name": (
        ["m", "5", "ma-b.c5", "5x.zm", "a0559z", "a" * 253],
        ["", "-a", "a-", ".a", "a.", "A", "a_b", "a b", "a" * 254, "*.a"],
    ),
    "nginx_facts nginx.snippet_gates.[].address": (
        ["192.0.2.10", f"{HEX}.:", "::", "5" * 45],
        [":", "g::", "A::", "1" * 46, "1-2", "a%b"],
    ),
    "nginx_facts nginx.snippet_gates.[].port": PORT,
    "nginx_facts nginx.snippet_gates.[].service": (["a" * 64], ["a" * 65]),
    "nginx_facts nginx.elsewhere.[].service": (["a" * 64], ["a" * 65]),
    "nginx_facts nginx.directives.resolver": (["", " ~am-", "a" * 256], ["é", "a" * 257]),
    "nginx_facts nginx.away.[]": (["192.0.2.10", f"{HEX}.:ABCDEF", "::", "5" * 45], [":", "g::", "G::", "1" * 46]),
    "nginx_facts nginx.asked.[].status": ([100, 999], [99, 1000]),
    "nginx_facts nginx.own_ports.[]": PORT,
    "nginx_facts nginx.name_servers.[]": (
        ["1.2.3.4", "192.168.100.255", "5.67.8.90", "[::1]", "[2001:DB8::aBcF:192.0.2.56]"],
        ["1.2.3.", "192.168.100.2001", "::1", "::1]", "[]", "[::1", "a.b.c.d7", "[g]", "[G]", "[::1]x", "1.2.3-4"],
    ),
    "nginx_facts nginx.names.<>": NAME_OF_A_FILE,
    "nginx_facts nginx.names.[]": NAME_OF_A_FILE,
    "nginx_facts nginx.kept.<>": NAME_OF_A_FILE,
    "nginx_facts nginx.system_ca": (["/etc/ssl-5/am.9z"], ["", "/", "etc", "/A", "/a b", "/a_b"]),
    "nginx_facts nginx.comparison.own_shutdown_timeout.value": (["a" * 256], ["a" * 257]),
    "nginx_facts nginx.comparison.unguarded.[].service": (["a" * 64], ["a" * 65]),
    "nginx_facts nginx.comparison.fingerprints.[]": (
        ["not ours", f"0123 {HEX * 4}", f"4567 {HEX * 4}"],
        [
            "not ours ",
            "ours",
            f"0648 {HEX * 4}",
            f"064 {HEX * 4}",
            f"06444 {HEX * 4}",
            f"0644{HEX * 4}",
            f"0644 {HEX * 4}0",
        ],
    ),
    "nginx_facts nginx.certificates.<>": (["a_b-C5", "a" * 64], ["", "a" * 65, "a.b"]),
    "nginx_facts nginx.certificates.[].end": DATE,
    "nginx_facts nginx.acme.outdated.[]": (
        ["mtls-am-z05", "mtls-" + "a" * 64],
        ["mtls-", "nas", "mtls-" + "a" * 65, "mtls-A", "mtlsa", "mtls-a_b"],
    ),
    "nginx_facts nginx.python": (
        ["/usr/bin/python3", "/a_b.c/d@e+f~g-h", "/" + "a" * 120],
        ["/", "usr", "/a b", "/" + "a" * 121, "/a;b"],
    ),
    "nginx_facts nginx.trust.held.[].crls.[].key_identifier": (["", HEX], ["g", "A", "0-"]),
    "nginx_facts nginx.trust.held.[].crls.[].number": ([HEX, "f" * 42], ["", "f" * 43, "g", "-1", "A"]),
    "nginx_config access.gates.[].service": NAME_OF_A_SERVICE,
    "nginx_config access.revoked.[].added.[]": SERIAL,
    "nginx_gate gate.crl_begin": ([0, YEAR_9999], [-1, YEAR_9999 + 1]),
    "nginx_gate gate.requests.[].when": WHEN,
    "nginx_gate gate.requests.[].status": ([0, 999], [-1, 1000]),
    "nginx_gate gate.requests.[].serial": (["-", *SERIAL[0]], SERIAL[1]),
    "nginx_gate gate.without.[].when": WHEN,
    "nginx_acme obtained.[]": NAME_OF_A_SERVICE,
    "nginx_crls crls.[].path": (
        ["/etc/nginx/client-certs/crl.pem", "//crl.pem"],
        ["/crl.pem", "/a/crlxpem", "a/b/crl.pem", "/a/bcrl.pem", "/a/crl.pem.x"],
    ),
    "access_log callers.[].service": (["a" * 64], ["a" * 65]),
    "access_log callers.[].status": ([0, 999], [-1, 1000]),
    "setup ansible_facts.ansible_pkg_mgr": (["apt", "mz05_9", "a" * 32], ["", "a" * 33, "A", "a-b"]),
}
# How many there may be in a list or table, and how long a message is before it is cut.
MOST = {
    "nginx_config warnings": 100,
    "nginx_facts nginx.elsewhere": 100,
    "nginx_facts nginx.snippet_gates": 2000,
    "nginx_config access.gates": 10_000,
    "nginx_config access.revoked": 1000,
    "nginx_facts nginx.trust.held.[].certificates": 1000,
    "nginx_facts nginx.trust.held.[].crls": 1000,
    "nginx_facts nginx.away": 1000,
    "nginx_facts nginx.asked": 10_000,
    "nginx_facts nginx.own_ports": 65535,
    "nginx_facts nginx.name_servers": 3,
    "nginx_facts nginx.certificates": 1000,
    "nginx_facts nginx.acme.outdated": 1000,
    "nginx_facts nginx.crl_fetch.failures": 100,
    "nginx_gate gate.requests": 100,
    "nginx_gate gate.without": 100,
    "nginx_gate gate.errors": 100,
    "nginx_gate gate.unread": 100,
    "nginx_gate gate.requests.[].verify": 200,
    "nginx_gate gate.requests.[].agent": 400,
    "nginx_gate gate.without.[].caller": 100,
    "nginx_gate gate.without.[].agent": 400,
    "nginx_acme failures": 1000,
    "nginx_acme obtained": 1000,
    "nginx_crls crls": 1000,
    "live trust.behind": 1000,
    "live probe.not_asked": 1000,
    "live probe.unanswered": 1000,
    "live probe.certificates": 1000,
    "live probe.certificates.[].names": 1000,
}


def spec_at(place: str) -> tuple[object, object]:
    """What a value must be at a place of an answer, and an honest one; `[]` is what is in a list, `<>` a name."""
    module, _blank, path = place.partition(" ")
    spec, value = HONEST[module]
    for part in path.split("."):
        spec = spec.spec if isinstance(spec, answers.Maybe) else spec
        if part == "<>":
            spec, value = spec.names, next(iter(value))
        elif part == "[]":
            spec, value = spec.spec, next(iter(value.values() if isinstance(value, dict) else value))
        else:
            spec, value = spec.fields[part], value[part]
    return spec.spec if isinstance(spec, answers.Maybe) else spec, value


@pytest.mark.parametrize("place", PLACES)
def test_what_may_stand_where(place):
    spec, _value = spec_at(place)
    good, odd = PLACES[place]
    assert [spec.read(value, "it") for value in good] == good
    for value in odd:
        with pytest.raises(answers._Odd):
            spec.read(value, "it")


@pytest.mark.parametrize("place", MOST)
def test_how_much_may_stand_where(place):
    spec, value = spec_at(place)
    if isinstance(spec, answers.Message):
        assert [spec.read("x" * (MOST[place] + more), "it") for more in (0, 1)] == [
            "x" * MOST[place],
            "x" * MOST[place] + "… (1 more characters)",
        ]
        return
    if isinstance(spec, answers.Table):
        (one,) = value.values()
        as_many, too_many = ({f"a{number}": one for number in range(MOST[place] + more)} for more in (0, 1))
    else:
        as_many, too_many = (value[:1] * (MOST[place] + more) for more in (0, 1))
    assert spec.read(as_many, "it") == as_many
    with pytest.raises(answers._Odd, match=r"it has [0-9]+ entries, and at most"):
        spec.read(too_many, "it")


def test_of_a_long_value_its_beginning_is_shown():
    with pytest.raises(answers._Odd, match=rf"^it is '{'x' * 60}'$"):
        answers.Text("y").read("x" * 61, "it")


def test_a_value_is_named_with_its_place():
    for answer, said in (
        ({"changed": 5}, "changed is int, neither true nor false"),
        ({"changed": False, "nginx": {}}, "nginx.installed is null, neither true nor false"),
    ):
        with pytest.raises(MtlsError, match=f"cannot be trusted: {said};"):
            answers.read("nas", "nginx_facts", answers.NGINX_FACTS, answer)


def test_answers_that_come_another_way_are_read_as_well():
    assert answers.read_snippet_gates("nas", [SNIPPET_GATE]) == [SNIPPET_GATE]
    with pytest.raises(MtlsError, match="host nas: its answer to tls_probe cannot be trusted: snippet_gates is null"):
        answers.read_snippet_gates("nas", None)
    with pytest.raises(MtlsError, match="host nas: its answer to status cannot be trusted: facts is int"):
        answers.read_live("nas", {"facts": 5})
