# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handouts: what is on a client's page, whose page is written, and what is never on it."""

from __future__ import annotations

import functools
import html.parser
import os
import pathlib
import re
import shlex
import ssl
import stat
import subprocess
from dataclasses import replace

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import _file_system_sync
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import handouts
from ansible_collections.mtls.nginx.plugins.module_utils.site.handouts import Handouts, Template
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Endpoint, parse_services
from ansible_collections.mtls.nginx.tests.pages import samples
from ansible_collections.mtls.nginx.tests.unit.support import later, tree

PAGES = str(pathlib.Path(handouts.__file__).parents[3] / "roles" / "ca" / "templates")
PHONE, GUEST = Client("phone", mobileconfig=True), Client("guest")


def service(name: str, *urls: str, allow=None, ours: bool = False) -> dict:
    return {"name": name, "urls": list(urls) or [f"https://{name}.lan/"], "allow": allow, "issued_by_authority": ours}


@functools.cache  # and compiled once
def own_template(contact) -> Template:
    return Template(PAGES, None, contact)


def make(
    pki, *services, check: bool = False, wanted: bool = True, foreseen=(), revoked=(), template=None, contact=None
):
    pages = Template(PAGES, template, contact) if template else own_template(contact)
    made = Handouts(str(pki.path), services, pages)
    return made.reconcile(wanted=wanted, check=check, foreseen=foreseen, revoked=revoked)


def page(pki, name: str = "phone") -> str:
    return pki.file(name, ".html").read_text()


def links(text: str) -> list[str]:
    return re.findall(r'<a href="(https[^"]*)"', text)


class Reader(html.parser.HTMLParser):
    """The tags and the text of a page, and whether each tag that has to be closed is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], "", []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_client_sees_what_is_open_to_all_and_what_names_it(pki):
    pki.serve(PHONE, GUEST)
    services = [service("wiki"), service("nas", allow=["phone"]), service("bank", allow=[]), service("x", allow=["a"])]
    assert make(pki, *services).written == ["phone", "guest"]
    assert links(page(pki)) == ["https://wiki.lan/", "https://nas.lan/"]
    assert links(page(pki, "guest")) == ["https://wiki.lan/"]
    make(pki, service("nas", allow=["phone"]))
    assert links(page(pki, "guest")) == []
    assert "Nothing at the moment" in page(pki, "guest")


def test_where_the_next_certificate_is_fetched(pki):
    here = {"renewal_urls": ["https://nas.lan/.mtls/"], "renewal_allow": ["phone"]}
    pki.serve(Client("phone"), Client("laptop"))
    make(pki, {**service("nas", "https://nas.lan/"), **here})
    assert "https://nas.lan/.mtls/" in links(page(pki))
    assert "It has the password of this file" in page(pki)
    assert "https://nas.lan/.mtls/" not in links(page(pki, "laptop"))
    assert "You will get a new file" in page(pki, "laptop")
    outcome = make(pki, {**service("nas", "https://nas.lan/"), **here, "renewal_allow": None})
    assert outcome.written == ["laptop"]


def test_who_is_revoked_by_serial_has_no_page_and_check_mode_says_so(pki):
    """The CRL alone knows of them: no list of clients has them any more."""
    pki.serve(PHONE, GUEST)
    make(pki)
    serial = pki.one(GUEST).entry.serial
    assert make(pki, check=True, revoked=[serial]).removed == ["guest"]
    assert make(pki, check=True).removed == []
    with pki.open() as authority:
        authority.revoke({serial: "keyCompromise"})
    assert make(pki, revoked=[serial]).removed == ["guest"]


def test_a_wildcard_is_no_link(pki):
    pki.one(PHONE)
    make(pki, service("wiki", "https://*.wiki.lan/", "https://wiki.lan:8443/"))
    assert links(page(pki)) == ["https://wiki.lan:8443/"]
    assert "any name like <code>https://*.wiki.lan/</code>" in page(pki)
    assert "curl --cert phone.pem https://wiki.lan:8443/" in page(pki)


def test_urls_of_services():
    raw = {
        "name": "a",
        "server_names": ["A.lan", "*.lan", "192.0.2.1", "2001:db8::1"],
        "snippet": False,
        "root": "/srv",
    }
    (https,) = parse_services("h", [raw])
    assert https.urls == ("https://a.lan/", "https://*.lan/", "https://192.0.2.1/", "https://[2001:db8::1]/")
    assert replace(https, listen=Endpoint(8443)).urls[3] == "https://[2001:db8::1]:8443/"


def test_the_page_holds_no_secret_needs_no_network_and_no_script(pki):
    pki.serve(PHONE, GUEST)
    make(pki, service("wiki", ours=True))
    text = page(pki)
    password = pki.file("phone", ".p12.password").read_text().strip()
    assert password not in text
    for line in pki.file("phone", ".key").read_text().splitlines()[1:-1]:
        assert line not in text
    read = Reader(text)
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(read.tags)
    assert [value for key, value in read.attributes if key == "src" or key.startswith("on")] == []
    assert "url(" not in text
    assert "@import" not in text
    policy = next(value for key, value in read.attributes if key == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    targets = {value[1:] for key, value in read.attributes if key == "href" and value.startswith("#")}
    assert targets == {value for key, value in read.attributes if key == "id"}
    assert os.stat(pki.file("phone", ".html")).st_mode & 0o777 == 0o644


def test_names_are_only_text(pki):
    name = "\"><script>alert(1)</script>:$(id)'&amp;".replace("/", "\u2215")
    pki.one(Client(name))
    make(pki, service("s<b>", 'https://x.lan/"onclick="y'))
    read = Reader(page(pki, name))
    assert "script" not in read.tags
    assert "s<b>" in read.text
    assert f"Your certificate \u201c{name}\u201d" in read.text
    assert not [key for key, _value in read.attributes if key == "onclick"]
    commands = [line for line in read.text.splitlines() if line.startswith(("(umask", "curl ", "pk12util"))]
    assert len(commands) == 3
    extract = shlex.split(commands[1].strip("()"))
    assert extract[extract.index("-in") + 1] == f"{name}.p12"
    curl = shlex.split(commands[2])
    assert curl[2] == f"{name}.pem".replace(":", "\\:")  # for curl a password begins there


def test_a_name_that_begins_with_a_dash_is_no_option(pki):
    pki.one(Client("-o"))
    make(pki)
    assert "curl --cert ./-o.pem" in page(pki, "-o")


def test_the_files_that_are_there_decide_what_is_told(pki):
    bot, both = Client("bot", p12="none", formats=("pem",)), Client("both", formats=("pem",))
    pki.serve(PHONE, GUEST, Client("ci", p12="none"), Client("agent", csr=str(pki.csr("agent"))), bot, both)
    make(pki, service("wiki"))
    told = {name: Reader(page(pki, name)).text for name in ("phone", "guest", "ci", "agent", "bot", "both")}
    assert "phone.mobileconfig" in told["phone"]
    assert ".mobileconfig" not in told["guest"]
    for name in ("phone", "guest"):
        assert "Keychain Access" in told[name]
        assert "does not come with the file" in told[name]
    for name in ("ci", "agent", "bot"):
        assert "Keychain Access" not in told[name]
        assert ".p12 " not in told[name]
        assert "docs/programs.md" in told[name]
    assert "cat ci.crt ci.key > ci.pem" in told["ci"]
    for name in ("bot", "both"):  # one file with both is there
        assert f"{name}.pem: certificate and private key in one file" in told[name]
        assert f"curl --cert {name}.pem https://wiki.lan/" in told[name]
        assert "umask" not in told[name]
    assert "curl --cert ci.crt --key ci.key https://wiki.lan/" in told["ci"]
    assert "has\nnever left it" in told["agent"]
    for text in told.values():
        for failure in ("No required SSL certificate was sent", "The SSL certificate error", "403", "421"):
            assert failure in text
        assert "ca.crt" not in text


def test_it_says_what_each_kind_of_device_cannot_take(pki):
    """By the key: GNOME's programs read RSA only, an Ed25519 key is for programs, and not for each of them."""
    kinds = {name: Client(name, key_type=name) for name in ("rsa", "ecdsa", "ed25519")}
    bare = [Client(f"bare-{name}", key_type=name, p12="none") for name in kinds]
    pki.serve(*kinds.values(), *bare)
    make(pki)
    said = [re.search(r"It has an (\w+) key, which (\S+)", Reader(page(pki, client.name)).text) for client in bare]
    assert [found and found.groups() for found in said] == [None, ("ECDSA", "gem"), ("Ed25519", "browsers,")]
    told = {name: Reader(page(pki, name)).text.replace("\n", " ") for name in kinds}
    assert (
        "\u201ccompatible\u201d kind of file: a \u201cmodern\u201d one is \u201ccorrupted\u201d to them." in told["rsa"]
    )
    for name in ("ecdsa", "ed25519"):
        assert "kind of file with an RSA key. Yours has another key: do not use them" in told[name]
    assert [name for name in kinds if "This certificate is for programs" in told[name]] == ["ed25519"]
    for text in told.values():
        assert re.search(r"After \d+ \w+ \d{4} it has expired, and browsers do not offer it any more", text)


def test_a_certificate_that_is_missing_changes_no_page_in_check_mode(pki):
    """It would be put back before pages are written: client_cert comes first."""
    pki.serve(PHONE)
    make(pki)
    pki.file("phone", ".crt").unlink()
    assert make(pki, service("wiki"), check=True).written == []
    assert make(pki, service("wiki")).written == ["phone"]


def test_it_names_the_pages_of_those_who_are_refused(pki):
    pki.serve(PHONE)
    make(pki, service("wiki"))
    text = Reader(page(pki)).text
    for reason, refused in samples.refusals().items():
        title = re.search("<h1>(.*)</h1>", refused.decode())[1]
        assert (f"\u201c{title}\u201d" in text) is (reason != "plain")


def test_devices_are_told_to_trust_the_authority_where_its_servers_are(pki):
    pki.serve(PHONE, GUEST)
    make(pki, service("own", allow=["phone"], ours=True), service("public"))
    assert "Certificate Trust Settings" in page(pki)
    assert "curl --cert phone.pem --cacert ca.crt https://own.lan/" in page(pki)
    assert "ca.crt" not in page(pki, "guest")
    assert "curl --cert guest.pem https://public.lan/" in page(pki, "guest")


def test_an_unchanged_run_renders_nothing(pki, monkeypatch):
    pki.serve(PHONE, GUEST)
    make(pki, service("wiki"))
    before = tree(pki.path)
    monkeypatch.setattr(Template, "render", None)
    for check in (True, False):
        outcome = make(pki, service("wiki"), check=check)
        assert (outcome.written, outcome.removed) == ([], [])
    assert tree(pki.path) == before


def test_a_lost_memory_writes_no_page(pki):
    pki.serve(PHONE, GUEST)
    make(pki, service("wiki"))
    before = tree(pki.path)
    memory = pki.path / "clients/handouts.json"
    for damage in ("", "[]", '{"version": 1, "pages": {"phone": 7}}', '{"version": 1, "pages": 7}'):
        memory.write_text(damage)
        assert make(pki, service("wiki")).written == []
        assert tree(pki.path) == before


@pytest.mark.parametrize("spoil", [pathlib.Path.unlink, lambda path: path.write_text("x")])
def test_a_deleted_or_altered_page_is_restored(pki, spoil):
    pki.serve(PHONE, GUEST)
    make(pki, service("wiki"))
    good = page(pki)
    spoil(pki.file("phone", ".html"))
    assert make(pki, service("wiki"), check=True).written == ["phone"]
    assert make(pki, service("wiki")).written == ["phone"]
    assert page(pki) == good


def test_check_mode_foresees_what_clients_and_services_will_be(pki, monkeypatch):
    clients = [PHONE, GUEST, Client("lost"), Client("plain")]
    pki.serve(*clients, Client("bot"))
    make(pki, service("wiki"))
    clients[2] = clients[2]._replace(revoked=True)
    clients[3] = clients[3]._replace(mobileconfig=True)
    clients.append(Client("bot", formats=("pem",)))
    clients.append(Client("new"))
    later(monkeypatch, days=1)
    clients[1] = clients[1]._replace(renew_before=364)

    foreseen = pki.serve(*clients, check=True).results
    told = [
        {"name": r.client.name, "action": r.action, "p12": r.p12, "mobileconfig": r.mobileconfig, "pem": r.pem}
        for r in foreseen
    ]
    before = tree(pki.path)
    plan = make(pki, service("wiki"), check=True, foreseen=told)
    assert tree(pki.path) == before
    pki.serve(*clients)
    done = make(pki, service("wiki"))
    assert sorted(plan.written) == sorted(done.written) == ["bot", "guest", "new", "plain"]
    assert plan.removed == done.removed == ["lost"]
    assert not pki.file("lost", ".html").exists()
    assert "plain: page until" in "".join(plan.after)
    assert make(pki, service("wiki")).removed == []


def test_before_there_is_an_authority_check_mode_tells_of_every_page(tmp_path):
    told = [{"name": "a", "action": "issued"}, {"name": "b", "action": "unchanged"}]
    outcome = Handouts(str(tmp_path / "pki"), [], Template(PAGES, None)).reconcile(
        wanted=True, check=True, foreseen=told
    )
    assert outcome.written == ["a"]
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_has_ended_has_no_page_and_a_folder_that_is_gone_stays_gone(pki, monkeypatch):
    pki.serve(PHONE, GUEST._replace(days=40))
    make(pki)
    later(monkeypatch, days=41)
    assert make(pki).removed == ["guest"]
    for path in (pki.path / "clients/phone").iterdir():
        path.unlink()
    (pki.path / "clients/phone").rmdir()
    assert make(pki).written == []
    assert not (pki.path / "clients/phone").exists()


def test_switched_off_all_pages_go(pki):
    pki.serve(PHONE, GUEST)
    before = tree(pki.path)
    make(pki, service("wiki"))
    outcome = make(pki, service("wiki"), wanted=False, check=True)
    assert sorted(outcome.removed) == ["guest", "phone"]
    assert page(pki)
    make(pki, service("wiki"), wanted=False)
    assert tree(pki.path) == before


def test_pages_that_are_good_need_no_template_and_pages_for_many_become_durable_together(pki, monkeypatch):
    pki.serve(*(Client(f"c{number:02}", key_type="ecdsa", p12="none") for number in range(40)))
    synced, compiled = [], []
    sync_directory, compile_template = files.sync_directory, Template.compile
    monkeypatch.setattr(files, "sync_directory", lambda path: (synced.append(path), sync_directory(path)))
    monkeypatch.setattr(Template, "compile", lambda self: (compiled.append(1), compile_template(self)))
    assert len(make(pki).written) == 40
    if _file_system_sync(str(pki.path / "clients")):
        assert len(synced) == 1  # for what is remembered
    assert {path.stat().st_mode & 0o777 for path in (pki.path / "clients").glob("*/*.html")} == {0o644}
    assert make(pki).written == []
    assert compiled == [1]


def test_a_template_of_your_own(pki, tmp_path):
    pki.one(PHONE)
    own = tmp_path / "mine.j2"
    own.write_text('<style>{% include "page.css" %}</style>Hola {{ name }}: {{ services[0].name }}, {{ until }}')
    make(pki, service("<wiki>"), template=str(own))
    assert re.search(r"Hola phone: &lt;wiki&gt;, \d+ [A-Z][a-z]+ \d{4}$", page(pki))
    own.write_text("{{ nobody }}")
    with pytest.raises(MtlsError, match=r"mine\.j2: cannot be rendered for client 'phone': 'nobody' is undefined"):
        make(pki, template=str(own))
    for unsafe in ("{{ name.__class__.__mro__ }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"):
        own.write_text(unsafe)
        with pytest.raises(MtlsError, match=r"mine\.j2: cannot be rendered for client 'phone': .*unsafe"):
            make(pki, template=str(own))
    own.write_text("{{ 1 / 0 }}")
    with pytest.raises(MtlsError, match=r"mine\.j2: cannot be rendered for client 'phone': division by zero"):
        make(pki, template=str(own))
    own.write_text("{% if %}")
    with pytest.raises(MtlsError, match=r"mine\.j2: cannot be used as template of the handouts"):
        make(pki, template=str(own))
    with pytest.raises(MtlsError, match="No such file"):
        make(pki, template=str(tmp_path / "nowhere.j2"))


def test_somebody_to_ask_is_named_and_a_new_one_writes_the_pages_again(pki):
    pki.serve(PHONE, GUEST)
    make(pki)
    assert "mailto:" not in page(pki)
    assert "Ask the person who gave it to you." in Reader(page(pki)).text
    ana = Contact("Ana <b>", "mailto:ana@example.com")
    assert make(pki, contact=ana).written == ["phone", "guest"]
    assert '<a href="mailto:ana@example.com">Ana &lt;b&gt;</a>' in page(pki)
    assert make(pki, contact=ana).written == []
    assert make(pki, contact=Contact("Ben")).written == ["phone", "guest"]


BROWSERS = ("browser", "Firefox", "Safari", "Keychain", "private window", "install", "Install")


@pytest.mark.parametrize("ours", [True, False])
def test_a_program_gets_no_advice_for_browsers_and_no_step_that_is_not_there(pki, ours):
    pki.serve(Client("runner", p12="none"))
    make(pki, service("nas", ours=ours))
    text = " ".join(Reader(page(pki, "runner")).text.split())
    # One sentence says what browsers need instead.
    text = text.replace("Browsers and phones need a single file instead, a .p12: ask for one if you need it.", "")
    assert [word for word in BROWSERS if word in text] == []
    assert "password" not in text.replace("contains no password", "")
    assert "the step with" not in text
    assert ("--cacert" in text) == ours


def test_each_place_that_a_page_refers_to_is_on_it(pki):
    pki.serve(PHONE, Client("runner", p12="none"))
    make(pki, service("nas", ours=True))
    for name in ("phone", "runner"):
        found = dict.fromkeys(value for key, value in Reader(page(pki, name)).attributes if key == "id")
        assert [link for link in re.findall(r'href="#([^"]*)"', page(pki, name)) if link not in found] == []


@pytest.mark.parametrize("name", ["runner", "a b'c", "-o"])
def test_the_command_for_one_file_with_both_makes_it(pki, name):
    pki.serve(Client(name, p12="none"))
    make(pki)
    (command,) = [line for line in Reader(page(pki, name)).text.splitlines() if line.startswith("(umask 077; cat")]
    folder = pki.path / "clients" / name
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    made = folder / f"{name}.pem"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(made)
