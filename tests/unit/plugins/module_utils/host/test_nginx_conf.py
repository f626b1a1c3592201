# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import ConfSyntaxError, ListenSocket


def test_main_context_only(tmp_path):
    (tmp_path / "main.d").mkdir()
    (tmp_path / "main.d" / "a.conf").write_text("worker_shutdown_timeout 5s;")
    conf = tmp_path / "nginx.conf"
    conf.write_text("user root;\nhttp { include broken; map a b { c d; } }\ninclude main.d/*.conf;\n")
    configuration = nginx_conf.load(str(conf), main_context_only=True)
    assert [statement.directive.name for statement in configuration.statements] == [
        "user",
        "http",
        "include",
        "worker_shutdown_timeout",
    ]


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("a 1;", "1"),
        ("a 1;  # Managed by mtls.nginx", None),
        ("a 1; # mine\n# Managed by mtls.nginx", None),
        ("b 2; # Managed by mtls.nginx\na 1;", "1"),
        ("\n\n\n\n\n# Managed by mtls.nginx\na 1;", "1"),
    ],
)
def test_what_the_host_says_itself(tmp_path, text, own):
    (tmp_path / "nginx.conf").write_text(text)
    assert nginx_conf.load(str(tmp_path / "nginx.conf")).own_value("a", ()) == own


def flat(directives):
    return [(item.name, item.values, None if item.block is None else flat(item.block)) for item in directives]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("user root;", [("user", ["root"], None)]),
        ("a b c;d;", [("a", ["b", "c"], None), ("d", [], None)]),
        ("http{server{listen 80;}}", [("http", [], [("server", [], [("listen", ["80"], None)])])]),
        ("# http {\na b; # c;\n", [("a", ["b"], None)]),
        ("a b#c;", [("a", ["b#c"], None)]),
        ("a 'b; {c' \"d }\";", [("a", ["b; {c", "d }"], None)]),
        (r'a "b\"c\\d\$e" f\;g;', [("a", ['b"c\\d\\$e', "f\\;g"], None)]),
        ("set $a ${b}c;", [("set", ["$a", "${b}c"], None)]),
        ("location ~ ^/a{2}$ { }", None),
        ('location ~ "^/a{2}$" { }', [("location", ["~", "^/a{2}$"], [])]),
        ("if ($a = b) { return 403; }", [("if", ["($a", "=", "b)"], [("return", ["403"], None)])]),
        (
            'map $a $b { "CN=x y" 1; default 0; }',
            [("map", ["$a", "$b"], [("CN=x y", ["1"], None), ("default", ["0"], None)])],
        ),
        (
            "content_by_lua_block { if a then -- don't }\n b = '}' .. \"}\" end } a;",
            [("content_by_lua_block", [], []), ("a", [], None)],
        ),
    ],
)
def test_parse(text, expected):
    if expected is None:
        with pytest.raises(ConfSyntaxError):
            nginx_conf.parse(text)
    else:
        assert flat(nginx_conf.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a {", "unexpected end of file"),
        ("a b", "unexpected end of file"),
        ("\n}", "unexpected } in line 2"),
        ("a }", "unexpected } in line 1"),
        (";", "unexpected ; in line 1"),
        ("\n\n'a", "unreadable text in line 3"),
        ("x_by_lua_block { {", "the Lua block that begins in line 1 does not end"),
    ],
)
def test_parse_errors_name_the_line(text, words):
    with pytest.raises(ConfSyntaxError, match=words):
        nginx_conf.parse(text)


def test_tokens_know_their_place():
    text = "include 'a b' c;"
    places = [text[token.start : token.end] for token in nginx_conf.parse(text)[0].args]
    assert places == ["'a b'", "c"]


def test_edit():
    assert nginx_conf.edit("0123456789", [(6, 8, "x"), (0, 1, "abc"), (3, 3, "-")]) == "abc12-345x89"


@pytest.mark.parametrize(
    ("content", "managed"),
    [
        (b"# Managed by mtls.nginx: changes are overwritten.\nserver {}\n", True),
        (b"\n\n  # Managed by mtls.nginx\n", True),
        (b"# I copied this from a file Managed by mtls.nginx\n", False),
        (b"\n" * 20 + b"# Managed by mtls.nginx\n", False),
        (b"", False),
        (b"\xff\xfe", False),
    ],
)
def test_is_managed(content, managed):
    assert nginx_conf.is_managed(content) is managed


@pytest.fixture
def conf(tmp_path):
    for name, text in {
        "nginx.conf": "pid /run/x.pid; include modules/*.conf; events {}\n"
        f"http {{ map_hash_bucket_size 128; include {tmp_path}/conf.d/*.conf;\n"
        "include sites/*; include missing.conf; }\n",
        "modules/a.conf": "load_module a.so;\n",
        "conf.d/b.conf": "ssl_session_cache off;\n",
        "conf.d/a.conf": "server { listen 80; include snippets/s.conf; }\n",
        "conf.d/.hidden.conf": "hidden on;\n",
        "conf.d/note.txt": "note on;\n",
        "sites/shop": "server { listen 443 ssl; }\n",
        "snippets/s.conf": "ssl_verify_client on;\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def names(configuration):
    return [(statement.directive.name, statement.context) for statement in configuration.statements]


def test_load_follows_includes_in_order_and_context(conf):
    configuration = nginx_conf.load(str(conf / "nginx.conf"))
    assert names(configuration) == [
        ("pid", ()),
        ("include", ()),
        ("load_module", ()),
        ("events", ()),
        ("http", ()),
        ("map_hash_bucket_size", ("http",)),
        ("include", ("http",)),
        ("server", ("http",)),
        ("listen", ("http", "server")),
        ("include", ("http", "server")),
        ("ssl_verify_client", ("http", "server")),
        ("ssl_session_cache", ("http",)),
        ("include", ("http",)),
        ("server", ("http",)),
        ("listen", ("http", "server")),
        ("include", ("http",)),
    ]
    assert configuration.included[str(conf / "conf.d/a.conf")] == [("http",)]


def test_what_nginx_does_not_read_of_ours(conf):
    ours, other = str(conf / "conf.d/a.conf"), str(conf / "conf.d/elsewhere.conf")
    paths = [ours, other, str(conf / "conf.d/not-one"), str(conf / "snippets/a.conf")]
    assert nginx_conf.not_included(nginx_conf.load(str(conf / "nginx.conf")), paths) == [other]
    (conf / "nginx.conf").write_text("http {")
    assert nginx_conf.not_included(nginx_conf.load(str(conf / "nginx.conf")), paths) == []


def test_load_sees_the_overlay(conf):
    overlay = {
        str(conf / "conf.d/a.conf"): None,
        str(conf / "conf.d/b.conf"): b"b on;",
        str(conf / "conf.d/new.conf"): b"new on;",
        str(conf / "conf.d/sub/deep.conf"): b"deep on;",
        str(conf / "missing.conf"): b"found on;",
    }
    found = [name for name, _context in names(nginx_conf.load(str(conf / "nginx.conf"), overlay))]
    assert {"b", "new", "found"} <= set(found)
    assert not {"deep", "ssl_verify_client", "ssl_session_cache"} & set(found)


def test_load_keeps_files_that_cannot_be_parsed(conf):
    (conf / "sites/shop").write_text("server {")
    configuration = nginx_conf.load(str(conf / "nginx.conf"))
    assert "end of file" in configuration.files[str(conf / "sites/shop")].error
    assert configuration.main.error is None


def test_files_that_include_each_other_end(conf):
    (conf / "conf.d/a.conf").write_text("include conf.d/b.conf;")
    (conf / "conf.d/b.conf").write_text("include conf.d/a.conf;")
    nginx_conf.load(str(conf / "nginx.conf"))


def test_own_value_leaves_out_what_we_wrote(conf):
    (conf / "conf.d/b.conf").write_text("# Managed by mtls.nginx\nssl_session_cache off;\n")
    configuration = nginx_conf.load(str(conf / "nginx.conf"))
    assert configuration.own_value("map_hash_bucket_size", ("http",)) == "128"
    assert configuration.own_value("ssl_session_cache", ("http",)) is None
    assert configuration.own_value("map_hash_bucket_size", ()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ListenSocket("", 80, False, False, "f")),
        ("*:81", ListenSocket("", 81, False, False, "f")),
        ("0.0.0.0:82", ListenSocket("", 82, False, False, "f")),
        ("127.0.0.1", ListenSocket("127.0.0.1", 80, False, False, "f")),
        ("127.0.0.1:8443 ssl http2", ListenSocket("127.0.0.1", 8443, False, False, "f")),
        ("[::]:443 ssl", ListenSocket("", 443, True, True, "f")),
        ("[::1]:443 ipv6only=off", ListenSocket("::1", 443, True, False, "f")),
        ("localhost:80", None),
        ("unix:/run/x.sock", None),
        ("443 quic reuseport", None),
        ("8000-8010", None),
    ],
)
def test_listens(tmp_path, text, expected):
    main = tmp_path / "nginx.conf"
    main.write_text(f"events {{}} http {{ server {{ listen {text}; listen {text}; }} }}")
    found = nginx_conf.listens(nginx_conf.load(str(main)))
    assert [ListenSocket(item.host, item.port, item.ipv6, item.ipv6_only, "f") for item in found] == (
        [expected] if expected else []
    )


def test_ports_of_the_hosts_own(tmp_path):
    """Of a block with a snippet of ours too; not those of server blocks that we wrote, nor of the stream module."""
    ours = tmp_path / "mtls-nas.conf"
    ours.write_text(f"{nginx_conf.MARKER}\nserver {{ listen 443 ssl; listen [::]:443 ssl; }}")
    snippet = tmp_path / "mtls-own.conf"
    snippet.write_text(f"{nginx_conf.MARKER}\nssl_verify_client on;")
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"http {{ include {ours}; server {{ listen 127.0.0.1:8443 ssl; listen 80; include {snippet}; }}"
        " server { listen [::1]:80; listen unix:/run/x.sock; server_name b; } server { server_name c; } }"
        " stream { server { listen 8883; } }"
    )
    assert nginx_conf.own_ports(nginx_conf.load(str(main))) == [80, 8443]
    text = main.read_text()
    main.write_text(text.replace("server_name c;", "listen 444 quic;"))
    assert nginx_conf.own_ports(nginx_conf.load(str(main))) == [80, 8443]
    for unclear in ("listen localhost:443 ssl;", "listen 440-450;", "listen;"):
        main.write_text(text.replace("server_name c;", unclear))
        assert nginx_conf.own_ports(nginx_conf.load(str(main))) is None
    snippet.write_text("}")
    main.write_text(text)
    assert nginx_conf.own_ports(nginx_conf.load(str(main))) is None


def test_a_listen_in_a_map_is_no_socket(tmp_path):
    main = tmp_path / "nginx.conf"
    main.write_text("http { map $a $b { listen 80; } }")
    assert nginx_conf.listens(nginx_conf.load(str(main))) == []


def test_statements_know_their_line_and_their_server_block(conf):
    (conf / "sites" / "shop").write_text("# shop\nserver { listen 443 ssl;\n  break;\n}\nserver {\n break; }\n")
    configuration = nginx_conf.load(str(conf / "nginx.conf"))
    places = [(one.place, one.server) for one in configuration.find("break")]
    assert [place for place, _server in places] == [f"{conf}/sites/shop, line 3", f"{conf}/sites/shop, line 6"]
    assert len({server for _place, server in places}) == 2
    (included,) = configuration.find("ssl_verify_client")
    (around,) = (one for one in configuration.find("listen") if one.directive.values == ["80"])
    assert included.server is not None
    assert included.server == around.server
    assert next(configuration.find("ssl_session_cache")).server is None


def test_what_is_quoted_is_read_as_it_was():
    """And a backslash is doubled only where nginx would take it for an escape: gixy-ng reads expressions literally."""
    for length in range(5):
        for letters in itertools.product("\\\"'trnxS$", repeat=length):
            text = "".join(letters)
            (directive,) = nginx_conf.parse(f"map {nginx_conf.nginx_quote(text)};")
            assert directive.values == [text]
    assert nginx_conf.nginx_quote(r"~^\S+\.lan\z") == r'"~^\S+\.lan\z"'
    assert nginx_conf.nginx_quote("a\\") == '"a\\\\"'
