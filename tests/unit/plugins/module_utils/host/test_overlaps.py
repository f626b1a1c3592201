# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server blocks answer on sockets that overlap with those of ours."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, overlaps
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Elsewhere, GateProbe

OURS = "# Managed by mtls.nginx\nserver {{ {} server_name app.lan; ssl_verify_client on; }}\n"
SNIPPET = "# Managed by mtls.nginx\nssl_verify_client on;\n"


@pytest.fixture
def host(tmp_path):
    """A host with a service of ours that has these `listen`, and other server blocks in lines of their own."""

    def make(listens, *others):
        for folder in ("conf.d", "snippets"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "conf.d" / "mtls-app.conf").write_text(OURS.format(" ".join(f"listen {one};" for one in listens)))
        (tmp_path / "conf.d" / "own.conf").write_text("\n".join(others))
        (tmp_path / "snippets" / "mtls-shop.conf").write_text(SNIPPET)
        (tmp_path / "nginx.conf").write_text("http { include conf.d/*.conf; }\n")
        return nginx_conf.load(str(tmp_path / "nginx.conf"))

    return make


@pytest.mark.parametrize(
    ("listens", "other"),
    [
        (["443 ssl"], "listen 192.0.2.1:443 ssl; server_name other.lan app.lan;"),
        (["443 ssl"], "listen 192.0.2.1:443; server_name APP.lan;"),
        (["443 ssl"], "listen 192.0.2.1:443 ssl; server_name *.lan;"),
        (["443 ssl"], "listen 192.0.2.1:443 ssl; server_name .lan;"),
        (["443 ssl"], "listen 192.0.2.1:443 ssl; server_name app.*;"),
        (["443 ssl"], "listen 192.0.2.1:443 ssl; server_name ~^app;"),
        (["0.0.0.0:443 ssl"], "listen 192.0.2.1:443 ssl; server_name app.lan;"),
        (["443 ssl", "[::]:443 ssl"], "listen [2001:db8::1]:443 ssl; server_name app.lan;"),
        (["192.0.2.1:443 ssl"], "listen 443 ssl; server_name app.lan;"),
        (["192.0.2.1:443 ssl"], "listen *:443 ssl; server_name app.lan;"),
        (["[2001:db8::1]:443 ssl"], "listen [::]:443 ssl; server_name app.lan;"),
    ],
)
def test_one_name_on_two_sockets_that_overlap(host, listens, other):
    with pytest.raises(MtlsError, match=r"service app: app\.lan is served in .*own\.conf, line 1 as well"):
        overlaps.elsewhere(host(listens, f"server {{ {other} }}"))


@pytest.mark.parametrize(
    ("listens", "other"),
    [
        (["443 ssl"], "listen 443 ssl; server_name app.lan;"),  # equal sockets are nginx's to complain of
        (["443 ssl"], "listen 192.0.2.1:8443 ssl; server_name app.lan;"),
        (["443 ssl"], "listen [2001:db8::1]:443 ssl; server_name app.lan;"),
        (["192.0.2.1:443 ssl"], "listen 192.0.2.2:443 ssl; server_name app.lan;"),
        (["192.0.2.1:443 ssl"], "listen 443 ssl; server_name *.lan;"),
        (["192.0.2.1:443 ssl"], "listen 443 ssl; server_name _ ~(;"),
        (["443 ssl"], "listen unix:/run/own.sock ssl; server_name app.lan;"),
        (
            ["443 ssl", "[2001:db8::1]:443 ssl"],
            "listen [::]:443 ssl; listen [2001:0db8::1]:443 ssl; server_name a.lan;",
        ),
    ],
)
def test_nothing_to_tell(host, listens, other):
    assert overlaps.elsewhere(host(listens, f"server {{ {other} }}")) == []


@pytest.mark.parametrize(
    ("listens", "overlap"),
    [
        (["443 ssl", "[::]:443 ssl"], False),
        (["443 ssl", "127.0.0.1:8443"], False),
        (["443 ssl", "[::1]:443"], False),
        (["443 ssl", "127.0.0.1:443"], True),
        (["[::]:443 ssl", "[::1]:443"], True),
    ],
)
def test_whether_there_is_something_to_look_at(host, listens, overlap):
    assert nginx_conf.has_overlaps(host(listens)) is overlap


def test_both_on_the_address_are_told_apart_by_name(host):
    configuration = host(["443 ssl", "192.0.2.1:443 ssl"], "server { listen 192.0.2.1:443 ssl; server_name b.lan; }")
    assert overlaps.elsewhere(configuration) == []


def test_who_answers_at_one_address(host):
    configuration = host(["443 ssl"], "", "server { listen 192.0.2.1:443 ssl; server_name ~( _; }")
    (note,) = overlaps.elsewhere(configuration)
    assert note == Elsewhere(
        "app", f"at 192.0.2.1:443, {configuration.conf_dir}/conf.d/own.conf, line 2 answers in its place"
    )
    assert overlaps.places([note]) == [{"service": "app", "why": note.why}]


def test_a_block_with_a_snippet_is_the_hosts_own(host):
    blocks = [
        "server { include snippets/mtls-shop.conf; listen 443 ssl; server_name shop.lan; }",
        "server { listen 127.0.0.1:443 ssl; server_name shop.lan; }",
        "server { include snippets/mtls-shop.conf; listen 192.0.2.1:443 ssl; server_name shop.lan; }",
    ]
    configuration = host(["8443 ssl"], *blocks)
    where = f"{configuration.conf_dir}/conf.d/own.conf, line 2"
    assert overlaps.elsewhere(configuration) == [
        Elsewhere("shop", f"at 127.0.0.1:443, {where} answers to shop.lan without the snippet")
    ]


@pytest.mark.parametrize(
    ("listens", "other", "gate", "asked"),
    [
        (["443 ssl"], "", "127.0.0.1", "127.0.0.1"),
        (["443 ssl"], "server { listen 127.0.0.1:443 ssl; }", "127.0.0.1", "127.0.0.2"),
        (["443 ssl"], "server { listen 127.0.0.1:443 ssl; listen 127.0.0.2:443; }", "127.0.0.1", "127.0.0.3"),
        (["443 ssl"], "server { listen 127.0.0.1:8443 ssl; }", "127.0.0.1", "127.0.0.1"),
        (["443 ssl", "127.0.0.1:443 ssl"], "server { listen 127.0.0.1:443 ssl; }", "127.0.0.1", "127.0.0.1"),
        (["192.0.2.1:443 ssl"], "server { listen 192.0.2.1:443 ssl; }", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_where_the_gate_is_asked(host, listens, other, gate, asked):
    assert overlaps.ask_at(host(listens, other), GateProbe(gate, 443, "app.lan")) == asked
