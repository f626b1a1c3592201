# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server certificates by ACME: site.yml against a real ACME server (Pebble), with Debian's certbot and a real nginx."""

from __future__ import annotations

import json
import re
import socket
import sys

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

from . import acme
from .conftest import REPOSITORY, Site

pytestmark = pytest.mark.skipif(not acme.PROGRAMS, reason="Pebble or certbot is not installed")


class Public(Site):
    """A site whose hosts the ACME server reaches by their names."""

    def __init__(self, folder, names):
        super().__init__(folder)
        self.network = acme.Network(folder / "network", names)
        self.pebble = acme.Pebble(self.network, folder / "pebble")
        self.trusting = {"REQUESTS_CA_BUNDLE": str(self.pebble.ca)}
        self.started_by = (*self.network.inside, "env", *(f"{name}={value}" for name, value in self.trusting.items()))
        self.all_vars["mtls_acme"] = {"email": "ana@example.com", "directory_url": acme.DIRECTORY_URL}

    def certificate(self, name, address="127.0.0.1"):
        return x509.load_der_x509_certificate(acme.served(self.network, name, address))

    def issuer(self, name, address="127.0.0.1"):
        return self.certificate(name, address).issuer.rfc4514_string()

    def renew(self, *arguments, on=()):
        """What the timer of certbot's package does; `on` are the words that have it run on another host."""
        return self.network.run(*on, "certbot", "renew", "--no-random-sleep-on-renew", *arguments, **self.trusting)

    def stop(self):
        super().stop()
        self.network.end()


@pytest.fixture
def public(tmp_path):
    made = Public(tmp_path, {"nas.test": "127.0.0.1", "www.nas.test": "127.0.0.1", "b.test": "10.22.0.2"})
    yield made
    made.stop()


PRIVATE = "CN=Test Root CA,O=Test,C=ES"
BY_PEBBLE = re.compile(r"CN=Pebble Intermediate CA \w+")


def service(name="nas", server_name="nas.test", **options):
    return {
        "name": name,
        "server_names": [server_name],
        "root": "/srv",
        "certificate": "acme",
        "probe_path": "none",
        **options,
    }


def names_of(certificate):
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


def gate(public, client=None, address="127.0.0.1", name="nas.test"):
    """The status that the gate answers with."""
    who = public.identity(client) if client else (None, None)
    with public.network.entered():
        return probe.ask(probe.Target(address, 443, name), probe.Attempt("somebody", 204, *who)).status


def known_to_certbot(public):
    return re.findall(r"Certificate Name: (\S+)", public.network.run("certbot", "certificates").stdout)


def test_from_nothing_to_a_public_certificate_and_back(public):
    public.pebble.restart(days=6)
    textfile = public.folder / "textfile"
    nas = service()
    one = public.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[nas], mtls_textfile_dir=str(textfile))
    planned = public.ok("--check")
    assert known_to_certbot(public) == []

    run = public.ok()
    first = public.certificate("nas.test")
    assert BY_PEBBLE.fullmatch(first.issuer.rfc4514_string())
    assert re.search(r"nas .*certificate obtained", " ".join(run.text.split()))
    assert (gate(public), gate(public, "phone")) == (400, 204)
    assert public.ok().changed == 0
    end = int(first.not_valid_after_utc.timestamp())
    assert (
        f'certificate_not_after_timestamp_seconds{{service="nas"}} {end}' in (textfile / "mtls_nginx.prom").read_text()
    )

    # The timer of certbot's package: nobody touches the host.
    pid = one.pid
    serials = {first.serial_number}
    for _renewal in range(2):
        said = public.renew()
        assert said.returncode == 0, said.stdout
        renewed = public.certificate("nas.test")
        serials.add(renewed.serial_number)
        end = int(renewed.not_valid_after_utc.timestamp())
        assert f'{{service="nas"}} {end}' in (textfile / "mtls_nginx.prom").read_text()
    assert len(serials) == 3
    assert one.pid == pid
    assert public.ok().changed == 0
    assert (gate(public), gate(public, "phone")) == (400, 204)

    status = public.run("-e", "mtls_status_live=true", playbook=REPOSITORY / "playbooks" / "status.yml")
    assert status.returncode == 0, status.text
    page = (public.inventory / "status" / "status.html").read_text()
    assert BY_PEBBLE.search(page)
    assert f"{renewed.not_valid_after_utc:%Y-%m-%d}" in page

    # Another name: certbot is asked again, and the gate is up meanwhile.
    nas["server_names"] = ["nas.test", "www.nas.test"]
    public.ok()
    assert names_of(public.certificate("www.nas.test")) == ["nas.test", "www.nas.test"]

    del nas["certificate"]
    public.ok()
    assert public.issuer("nas.test") == PRIVATE
    assert known_to_certbot(public) == []
    assert not (one.folder / "server-certs" / "acme-deploy-hook").exists()
    assert public.ok().changed == 0
    assert "would be obtained" in planned.text or planned.changed


def test_two_hosts_and_two_services_at_once(public):
    photos = service("photos", "www.nas.test")
    python, two = public.network.neighbour("10.22.0.2")
    public.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[service(), photos])
    public.add_host(
        "two",
        mtls_services=[service("wiki", "b.test")],
        ansible_python_interpreter=python,
        mtls_probe_address="10.22.0.2",
    )
    public.ok()
    for name, address in (("nas.test", "127.0.0.1"), ("www.nas.test", "127.0.0.1"), ("b.test", "10.22.0.2")):
        assert BY_PEBBLE.fullmatch(public.issuer(name, address))
        assert names_of(public.certificate(name, address)) == [name]
        assert (gate(public, None, address, name), gate(public, "phone", address, name)) == (400, 204)
    before = [public.certificate("nas.test"), public.certificate("b.test", "10.22.0.2")]
    # Both have the same certbot here.
    for lineage in known_to_certbot(public):
        said = public.renew("--force-renewal", "--cert-name", lineage, on=two if lineage.endswith("-wiki") else ())
        assert "nginx reloaded" in said.stdout
    after = [public.certificate("nas.test"), public.certificate("b.test", "10.22.0.2")]
    assert not {one.serial_number for one in before} & {one.serial_number for one in after}, said.stdout
    assert public.ok().changed == 0


def test_a_failing_challenge_loses_nothing(public):
    nas = service(server_names=["nas.test", "elsewhere.test"])
    public.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[nas])
    said = public.refused()
    assert (
        f"host one, service nas: no certificate for nas.test, elsewhere.test was obtained from {acme.DIRECTORY_URL}"
        in (said)
    )
    assert "elsewhere.test: " in said
    assert "it must reach port 80 of each name" in said
    assert public.issuer("nas.test") == PRIVATE
    assert (gate(public), gate(public, "phone")) == (400, 204)

    nas["server_names"] = ["nas.test"]
    public.ok()
    good = public.certificate("nas.test")

    # Renewed in vain: what is there stays, and the gate with it.
    nas["server_names"] = ["nas.test", "elsewhere.test"]
    said = public.refused()
    assert "service nas: no certificate for nas.test, elsewhere.test was obtained" in said
    assert public.certificate("nas.test") == good
    assert (gate(public), gate(public, "phone")) == (400, 204)
    nas["server_names"] = ["nas.test"]

    public.pebble.stop()
    public.all_vars["mtls_acme"] = {
        **public.all_vars["mtls_acme"],
        "directory_url": acme.DIRECTORY_URL.replace("14000", "14001"),
    }
    said = public.refused()
    assert "was obtained from https://10.22.0.1:14001/dir" in said
    assert "Connection refused" in said
    assert public.certificate("nas.test") == good

    public.all_vars["mtls_acme"] = {"directory_url": acme.DIRECTORY_URL, "profile": "shortlived"}
    public.host_vars["one"]["mtls_services"] = [service("other", "www.nas.test"), nas]
    said = public.refused()
    assert "service other: acme: profile shortlived needs certbot 4.0 or newer, and this host has certbot 2.1.0" in said
    assert public.issuer("www.nas.test") == PRIVATE


def test_a_renewal_that_nginx_cannot_serve(public):
    """The hook says so and fails; nginx goes on with what it has read."""
    public.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[service()])
    public.ok()
    good = public.certificate("nas.test")
    conf = public.hosts["one"].folder / "conf.d" / "broken.conf"
    conf.write_text("nonsense;\n")
    said = public.renew("--force-renewal")
    assert "the renewed certificate is not served yet: nginx rejects" in said.stdout
    assert public.certificate("nas.test") == good
    assert (gate(public), gate(public, "phone")) == (400, 204)
    conf.unlink()
    # The next run finds that another one is served than there is.
    assert public.ok().changed == 1
    assert public.certificate("nas.test") != good


LIMIT = (
    "too many certificates (5) already issued for this exact set of identifiers, retry after 2026-12-01 10:00:00 UTC"
)
ACCOUNT = "/etc/letsencrypt/accounts/10.22.0.1:14002/dir"
# What the ACME server refuses where, or None; options of certbot's; what the user reads.
REFUSED = {
    "limit": (("order-plz", "rateLimited", 429, LIMIT), {}, f"{LIMIT}; wait as long as it says"),
    "account": (
        ("order-plz", "unauthorized", 403, 'Account is not valid, has status "deactivated"'),
        {},
        f'has status "deactivated"; if that is about certbot\'s account there, remove {ACCOUNT}, and run again',
    ),
    "name": (
        None,
        {"server_names": ["nas.test", "blocked.test"]},
        'policy: "blocked.test"; this ACME server issues no certificate for such a name',
    ),
    "other": (None, {"server_names": ["b.test"]}, "it must reach port 80 of each name: see the DNS records"),
    "address": (None, {"directory_url": "https://10.22.0.1:14002/none"}, "no ACME server answers at that address"),
    "trust": (None, {"ca": "/etc/ssl/certs/ca-certificates.crt"}, "have this host trust the CA of that ACME server"),
    "clock": (None, {"clock": "+20 years"}, "certificate has expired (_ssl.c:"),
}
OBTAIN = """
import json, sys
from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_client import Certbot, Order
try:
    Certbot.find().obtain(Order(**json.loads(sys.argv[1])), "/bin/true")
except Exception as error:
    print(type(error).__name__, error)
"""
FORGET = """
import sys
from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_client import Certbot
try:
    Certbot.find().forget(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_what_the_acme_server_refuses_is_told_in_its_own_words(public):
    front = acme.Front(public.pebble)
    try:
        public.all_vars["mtls_acme"]["directory_url"] = front.directory_url
        public.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[service()])
        with public.network.entered(), socket.create_server(("127.0.0.1", 80)):
            said = public.refused()
        assert re.search(
            r"port 80 is held by .*: stop that program, or do without redirect_http and certificate: acme", said
        )
        front.refusals["sign-me-up"] = ("invalidContact", 400, 'contact email has forbidden domain "example.com"')
        said = public.refused()
        assert (
            f"host one, service nas: no certificate for nas.test was obtained from {front.directory_url}: contact email"
            ' has forbidden domain "example.com"; set another email in mtls_acme, or none'
        ) in said
        assert public.issuer("nas.test") == PRIVATE
        assert (gate(public), gate(public, "phone")) == (400, 204)
        front.refusals.clear()
        public.ok()
        good = public.certificate("nas.test")

        order = {"service": "nas", "lineage": "mtls-other", "webroot": "/var/lib/mtls-acme"}
        for name, (refusal, options, told) in REFUSED.items():
            front.refusals = {refusal[0]: refusal[1:]} if refusal else {}
            asked = {**order, "directory_url": front.directory_url, "server_names": ["nas.test"], **options}
            clock, ca = asked.pop("clock", None), asked.pop("ca", None)
            words = ("faketime", clock) if clock else ()
            trusting = {"REQUESTS_CA_BUNDLE": ca} if ca else public.trusting
            run = public.network.run(*words, sys.executable, "-c", OBTAIN, json.dumps(asked), **trusting)
            assert run.stdout.startswith("MtlsError service nas: no certificate for "), (name, run.stdout)
            assert told in run.stdout, (name, run.stdout)
            assert run.stdout.count("\n") == 1, name

        run = public.network.run(sys.executable, "-c", FORGET, "mtls-gone")
        assert run.stdout.startswith(
            "MtlsError certbot: certificate mtls-gone was not deleted: No certificate found with name mtls-gone"
        )
        assert run.stdout.endswith("; try 'certbot delete --cert-name mtls-gone' by hand\n")

        # By hand, and then no other one is to be had: the private certificate, and who may enter is the same.
        (lineage,) = known_to_certbot(public)
        public.network.run("certbot", "delete", "--non-interactive", "--cert-name", lineage)
        assert public.certificate("nas.test") == good
        front.refusals = {"order-plz": ("rateLimited", 429, LIMIT)}
        said = public.refused()
        assert f"{LIMIT}; wait as long as it says" in said
        assert public.issuer("nas.test") == PRIVATE
        assert (gate(public), gate(public, "phone")) == (400, 204)
        front.refusals.clear()
        public.ok()
        assert BY_PEBBLE.fullmatch(public.issuer("nas.test"))
    finally:
        front.stop()
