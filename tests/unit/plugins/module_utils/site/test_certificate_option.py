# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.certificate_option import LETS_ENCRYPT, AcmeOrder, order
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

DEFAULTS = {"email": "ana@example.com", "directory_url": "https://acme.test/dir", "profile": None, "challenge": None}
NAS = {"name": "nas", "server_names": ["nas.example.com"], "root": "/srv", "certificate": "acme"}


def parsed(defaults=None, **options):
    (service,) = parse_services("web", [{**NAS, **options}], acme=defaults)
    return service


def test_how_it_is_obtained():
    assert order("here", None, None, ["a.test"]) == AcmeOrder(None, LETS_ENCRYPT, None)
    assert parsed(DEFAULTS).acme == AcmeOrder("ana@example.com", "https://acme.test/dir", None)
    own = {"profile": "shortlived", "email": "bo@example.com"}
    assert parsed(DEFAULTS, acme=own).acme == AcmeOrder("bo@example.com", "https://acme.test/dir", "shortlived")


@pytest.mark.parametrize(
    "said",
    [
        {"email": "a.b+c%d-e_f@x-1.y-z.example"},
        {"directory_url": "https://acme-1.example:14000/a/b-c/~d+e%20.f"},
        {"directory_url": "https://[2001:db8::af09]:14000/dir"},
        {"directory_url": "https://[::ffff:192.0.2.7]/~d/e-f+g%20.h"},
        {"profile": "tls-Server_1.0"},
    ],
)
def test_what_may_be_said(said):
    found = parsed(acme=said).acme
    ((name, value),) = said.items()
    assert getattr(found, name) == value


def test_what_comes_with_it():
    service = parsed(DEFAULTS)
    assert (service.redirect_http, service.acme_root, service.certificate) == (True, "/var/lib/mtls-acme", None)
    assert (service.issued_by_authority, service.may_stand_in) == (False, True)
    assert parsed(acme_root="/srv/acme").acme_root == "/srv/acme"
    assert parsed(state="absent", server_names=["*.example.com"]).acme is None
    files = parsed(certificate={"path": "/a", "key": "/b"})
    assert (files.certificate, files.acme, files.may_stand_in, files.redirect_http) == (("/a", "/b"), None, True, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"acme": {"email": "ana"}}, "acme: email 'ana' is not valid; write it as ana@example.com"),
        (
            {"acme": {"directory_url": "http://a/dir"}},
            "acme: directory_url 'http://a/dir' is not valid; write it as https:",
        ),
        ({"acme": {"profile": "short lived"}}, "acme: profile 'short lived' is not valid"),
        ({"acme": {"profile": "a" * 65}}, "acme: profile 'aaaa"),
        ({"acme": {"email": "ana@example"}}, "acme: email 'ana@example' is not valid"),
        ({"acme": {"directory_url": "https://a"}}, "acme: directory_url 'https://a' is not valid"),
        ({"acme": {"directory_url": "https://[::1]:123456/"}}, "directory_url 'https://[::1]:123456/' is not valid"),
        ({"acme": {"directory_url": "https://a:123456/"}}, "acme: directory_url 'https://a:123456/' is not valid"),
        ({"server_names": ["*.example.com"]}, "cannot get a certificate for *.example.com"),
        ({"server_names": ["192.0.2.1"]}, "needs public host names, and 192.0.2.1 is not one"),
        ({"server_names": ["2001:db8::1"]}, "needs public host names, and 2001:db8::1 is not one"),
        ({"server_names": ["nas"]}, "needs public host names, and nas is not one"),
        ({"acme_upstream": "http://127.0.0.1:8402"}, "acme_upstream is for another ACME client"),
        ({"certificate": None, "acme": {"email": "a@b.test"}}, "acme needs certificate: acme"),
        ({"certificate": {"file": "/a"}}, "certificate: there is no option 'file'"),
        ({"certificate": {"path": "/a", "key": 1}}, "certificate: key is not text"),
        ({"certificate": {"path": "/a", "kay": "/b"}}, "certificate: there is no option 'kay'; did you mean key?"),
        ({"certificate": "ACME"}, "certificate is neither acme nor a dictionary"),
        ({"snippet": True, "root": None}, "a snippet goes into a server block that exists already"),
        ({"listen": "80"}, "redirect_http needs port 80"),
    ],
)
def test_what_cannot_be(options, said):
    with pytest.raises(MtlsError) as error:
        parsed(**options)
    assert said in str(error.value)
    assert "host web, service nas" in str(error.value)


def test_the_example_of_a_home_server():
    page = (pathlib.Path(__file__).parents[5] / "docs" / "services.md").read_text()
    section = page.partition("### A certificate that browsers trust")[2].partition("\n### ")[0]
    example, other = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL))
    (service,) = parse_services("nas", example["mtls_services"], acme=example["mtls_acme"])
    assert service.acme == AcmeOrder("ana@example.com", LETS_ENCRYPT, None)
    assert set(service.named) == {client["name"] for client in example["mtls_clients"]}
    assert parsed(**other).certificate == ("/etc/ssl/photos/fullchain.pem", "/etc/ssl/photos/key.pem")
