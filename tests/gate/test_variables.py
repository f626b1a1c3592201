# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and authorities of any names share a host: no variable of nginx is defined twice, the last one winning."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from . import pki
from .client import ask

# The words that variables are made of now, those that they were made of once, and names that people give.
WORDS = [
    *(
        "svc",
        "ca",
        "sni",
        "zone",
        "list",
        "open",
        "any",
        "net",
        "near",
        "now",
        "outer",
        "gate",
        "home",
        "upstream",
        "host",
    ),
    *("rev", "end", "alien", "told", "bad", "state", "dn", "sn", "fp", "cert", "pem", "acme", "page", "plain-path"),
    *("one-host", "unsaid"),
    *("allowed", "public", "anyway", "revoked", "crl-ended", "foreign", "outdated", "verify", "serial", "fingerprint"),
    *("nas", "plain", "one", "crl", "upgrade", "connection", "preflight"),
]


def service(name: str, number: int, host, **options: object) -> dict[str, object]:
    made = {"name": name, "server_names": [f"s{number}.test"], "public_paths": ["/open/"], "cors_preflight": True}
    made |= {
        "paths": [{"path": "/list/", "allow": []}],
        "upstream": "http://127.0.0.1:1",
        "identity_headers": "rfc9440",
    }
    return made | options


def defined(host) -> list[str]:
    texts = [path.read_text() for path in (host.folder / "conf.d").glob("*.conf")]
    texts.append((host.folder / "client-certs" / "pages.conf").read_text())
    maps = [name for text in texts for name in re.findall(r'(?m)^(?:map|geo) (?:"[^"]*"|\S+) (\$\w+) \{', text)]
    captured = {f"${name}" for text in texts for name in re.findall(r"\(\?<(\w+)>", text)}
    return [*maps, *captured, *(name for text in texts for name in re.findall(r"(?m)^log_format (\S+)", text))]


def test_ours_no_two_variables_have_one_name(new_host, authority):
    """Each word names a service or an authority, beside each of the others."""
    host = new_host()
    networks = ["192.168.7.0/24"] if host.build.has_geo else []
    names = [
        *WORDS,
        *(f"{one}-{other}" for one, other in itertools.product(WORDS[:17], WORDS) if len(one + other) < 32),
    ]
    services = [
        service(name, number, host, authority=f"pki/{names[-number]}", exempt_networks=networks)
        for number, name in enumerate(names)
    ]
    other = SimpleNamespace(chain=authority.chain, crl=authority.crl, clients={})
    host.ours(services, authority, others=dict.fromkeys(names, other))
    found = defined(host)
    assert len(found) > 15 * len(names)
    assert sorted(name for name in set(found) if found.count(name) > 1) == []


def test_ours_the_longest_names_find_room(new_host, authority):
    """In nginx's default variables_hash_bucket_size: it starts."""
    host = new_host()
    longest = "x" * 32
    networks = ["192.168.7.0/24"] if host.build.has_geo else []
    one = service(longest, 1, host, authority=f"pki/{longest}", exempt_networks=networks)
    host.ours([one], authority, others={longest: authority})
    host.start()


def test_ours_usual_names_find_room_without_a_warning(new_host, authority):
    host = new_host()
    names = ["nas", "home-assistant", "photos", "cloud"]
    # The names are meant, not how many clients the tests before have had revoked.
    nobody = pki.crl_of(authority.issuer)
    host.ours([service(name, number, host) for number, name in enumerate(names)], authority, crl=nobody)
    host.start()
    assert "hash" not in (host.folder / "log" / "start").read_text()


@pytest.mark.parametrize("name", ["foreign", "alien", "public", "public-alien"])
@pytest.mark.parametrize("trust", ["public", "open"])
def test_ours_a_service_s_name_opens_no_other(new_host, authority, tmp_path, tls, name, trust):
    """What the root of another service's authority issues besides does not get in, whatever the services are called."""
    root = pki.Authority(tmp_path / "root", "Their Root CA")
    ours = pki.forged(tmp_path, pki.subject("Their CA"), root.issuer, ca=True)
    issuing = pki.as_issuer(ours)
    theirs = SimpleNamespace(
        chain=ours.certificate.public_bytes(Encoding.PEM).decode() + root.chain,
        crl=pki.crl_of(issuing) + root.crl,
        clients={},
    )
    host = new_host()
    files = {"root": f"{host.folder}/www"}
    host.ours(
        [
            {"name": name, "server_names": ["files.test"], "public_paths": ["/open/"], **files},
            {"name": "app", "server_names": ["nas.test"], "authority": f"pki/{trust}", **files},
        ],
        authority,
        others={trust: theirs},
    )
    host.start()
    stranger = pki.forged(tmp_path, pki.subject("somebody"), root.issuer)
    assert ask(host.port, tls=tls, client=stranger).status == 400
    assert ask(host.port, tls=tls, client=pki.forged(tmp_path, pki.subject("a client"), issuing)).let_in
