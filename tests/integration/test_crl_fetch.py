# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that fetches its CRL: a real nginx serves it, a real nginx is guarded by it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.common import probe, times
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    crl_fetch,
    crl_records,
    download,
    sessions,
    swap,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import WantedFile
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_program
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_files import crl_files, host_files
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import NginxHost
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.gate import pki
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY
from .host import BINARY, Host

pytestmark = pytest.mark.skipif(BINARY is None, reason="nginx is not installed")


class Guarded(Host):
    """A host that is guarded by the collection's configuration, and a web server, with a folder for the CRL."""

    def __init__(self, root: pathlib.Path, authority: pki.Authority) -> None:
        super().__init__(root, (b"", b""))
        self.authority = authority
        self.phone = authority.client("phone")
        self.laptop = authority.client("laptop")
        self.web = free_port()
        self.public = root / "public"
        self.public.mkdir()
        (self.conf / "sites-enabled" / "web").write_text(
            f"server {{ listen 127.0.0.1:{self.web}; root {self.public};\n"
            f"location = /round {{ return 302 /round; }} location = /on {{ return 302 /crl.pem; }}\n"
            "location = /away { return 302 file:///etc/passwd; } }\n"
        )
        self.services = parse_services(
            "nas", [{"name": "nas", "server_names": ["a.test"], "listen": f"127.0.0.1:{self.port}", "root": str(root)}]
        )
        version = tuple(map(int, self.nginx.version().split(".")))
        textfile_dir = str(root / "textfile")
        there = NginxHost(
            version,
            False,
            str(self.main),
            str(root / "log"),
            {},
            textfile_dir=textfile_dir,
            ssi=True,
            own_ports=[self.web],
            session_resumption=True,
        )
        credential = pki.credential(authority.server("a.test"))
        published = Publication(authority.chain, authority.crl, {}, {}, {"nas": credential})
        templates = str(REPOSITORY / "roles" / "server" / "templates")
        wanted = host_files(there, self.services, {"": published}, templates)
        self.apply(
            *(WantedFile(item["path"], item["content"].encode()) for item in wanted.files),
            *(WantedFile(item["path"], item["content"].encode(), 0o600, secret=True) for item in wanted.secrets),
        )
        self.textfile = wanted.textfile
        (root / "textfile").mkdir()
        self.folder = root / "fetch"
        self.publish()
        self.fetch_from(f"http://127.0.0.1:{self.web}/crl.pem")

    def fetch_from(self, url: str) -> None:
        nginx = {"binary": str(BINARY), "conf_path": str(self.main)}
        program = crl_program.program_files(
            str(self.conf), self.services, {"": url}, minutes=60, nginx=nginx, textfile=self.textfile
        )
        for name, text in program.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def publish(self, crl: str | None = None) -> None:
        (self.public / "crl.pem").write_text(self.authority.crl if crl is None else crl)

    def published_long_ago(self) -> None:
        os.utime(self.public / "crl.pem", (time.time() - 60,) * 2)

    def fetch(self) -> tuple[bool, str]:
        said: list[str] = []
        well = crl_fetch.run(str(self.folder), said.append)
        (text,) = said
        return well, text

    def lets_in(self, who: pki.Identity) -> bool:
        target = probe.Target("127.0.0.1", self.port, "a.test")
        attempt = probe.Attempt("somebody", 204, certificate=str(who.path), key=str(who.path))
        got = probe.ask(target, attempt).got
        assert got in ("204", "400"), got
        return got == "204"

    def metrics(self) -> str:
        return (self.root / "textfile" / "mtls_nginx_crl_fetch.prom").read_text()


@pytest.fixture
def authority(tmp_path):
    return pki.Authority(tmp_path / "pki", "Devices")


@pytest.fixture
def host(tmp_path, authority):
    made = Guarded(tmp_path / "host", authority)
    yield made
    made.nginx.stop()


# What it does


def test_whoever_is_revoked_is_out_once_the_host_has_fetched(host):
    assert host.lets_in(host.phone)
    ca, crl, kept = (host.conf / "client-certs" / name for name in ("ca.crt", "crl.pem", "sessions.conf"))
    before = kept.read_bytes()
    host.authority.revoke(host.phone)
    host.publish()
    program = [sys.executable, "-I", "-S", "-B", host.folder / "program", host.folder]  # without Ansible's libraries
    done = subprocess.run(program, capture_output=True, text=True, env={"JOURNAL_STREAM": "8:1"}, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # The end is another one if the second is.
    said = r"CRL 2 of CN=Devices,O=Acme is in place \(files: 1 created, [34] changed; nginx reloaded\)"
    assert re.search(said, done.stdout)
    assert not host.lets_in(host.phone)
    assert host.lets_in(host.laptop)
    assert before != kept.read_bytes() == sessions.lines(ca.read_bytes(), crl.read_bytes())
    assert "mtls_nginx_crl_fetch_failed 0\n" in host.metrics()


def test_it_writes_what_the_controller_would_write(host):
    host.authority.revoke(host.phone)
    host.publish()
    host.fetch()
    wanted = crl_files(str(host.conf), host.services, {"": host.authority.crl}, None)
    assert {item["path"]: pathlib.Path(item["path"]).read_text() for item in wanted.files} == {
        item["path"]: item["content"] for item in wanted.files
    }


def test_the_same_crl_changes_nothing_and_is_not_sent_twice(host):
    host.published_long_ago()
    before = host.tree(), host.workers()
    host.fetch()
    well, said = host.fetch()
    assert well
    assert said.endswith("is in place already")
    assert (host.tree(), host.workers()) == before
    assert crl_records.records(str(host.folder))[""].validators.keys() == {"If-None-Match", "If-Modified-Since"}


def test_304_is_as_good_as_the_file(host, monkeypatch):
    host.published_long_ago()
    host.fetch()
    answers = []
    fetch = download.fetch
    monkeypatch.setattr(download, "fetch", lambda *args: answers.append(fetch(*args)) or answers[-1])
    assert host.fetch()[0]
    assert [answer.content for answer in answers] == [None]


def test_what_may_be_published_again_within_the_same_second_is_asked_for_anew(host):
    """The server would call it not modified, if it has the same size."""
    now = int(time.time())
    os.utime(host.public / "crl.pem", (now, now))
    assert host.fetch()[0]
    assert crl_records.records(str(host.folder))[""].validators == {}


def test_text_that_somebody_puts_between_does_not_reload_nginx(host):
    before = host.tree(), host.workers()
    host.publish(f"a line\n{host.authority.crl}another line\n")
    assert host.fetch()[0]
    assert (host.tree(), host.workers()) == before


def test_nginx_that_was_stopped_stays_so(host, serve):
    host.nginx.stop()
    host.authority.revoke(host.phone)
    host.fetch_from(f"http://127.0.0.1:{serve(answer(host.authority.crl.encode())).port}/crl.pem")
    well, said = host.fetch()
    assert well, said
    assert "and is not running" in said
    assert host.nginx.master() is None
    assert (host.conf / "client-certs" / "crl.pem").read_text() == host.authority.crl


def test_what_a_killed_run_left_is_put_right_first(host, monkeypatch):
    host.authority.revoke(host.phone)
    host.publish()
    monkeypatch.setattr(swap.Swap, "decide", lambda _self: os._exit(9))
    child = os.fork()
    if child == 0:
        host.fetch()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    assert swap.Swap(str(host.conf)).unfinished
    well, said = host.fetch()
    assert well, said
    assert not swap.Swap(str(host.conf)).unfinished
    assert not host.lets_in(host.phone)


# What must change nothing


@pytest.fixture
def refused(host):
    """The host, which must stay as it is: its files, who gets in, and that it says why."""
    host.authority.revoke(host.phone)
    host.publish()
    assert host.fetch()[0]
    before = host.tree()
    workers = host.workers()

    def refuse(*, workers_too: bool = True) -> str:
        well, said = host.fetch()
        assert not well
        assert "\n" not in said
        assert host.tree() == before
        assert not workers_too or host.workers() == workers
        assert host.lets_in(host.laptop)
        assert not host.lets_in(host.phone)
        assert "mtls_nginx_crl_fetch_failed 1\n" in host.metrics()
        assert crl_records.records(str(host.folder))[""].failure == said
        return said

    host.refuse = refuse
    return host


def test_a_web_page(refused):
    refused.publish("<!DOCTYPE html><title>Log in</title>")
    assert "what is there is a web page; what this host has stays" in refused.refuse()


def test_something_else(refused):
    refused.publish("see you later")
    assert "is not a CRL in PEM" in refused.refuse()


def test_a_certificate_among_them(refused):
    """nginx would trust it, whoever made it (its fact A5)."""
    refused.publish(refused.authority.crl + refused.authority.chain)
    assert "has a CERTIFICATE in it, and must contain CRLs only" in refused.refuse()


def test_an_older_one(refused, tmp_path):
    older = pki.crl_of(refused.authority.issuer)
    refused.publish(older)
    assert "has CRL 1 of" in refused.refuse()


def test_an_older_one_without_a_number(refused):
    """As `openssl ca -gencrl` without a crlnumber makes it, in version 1 too."""
    issuer, now = refused.authority.issuer, times.now()
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, now - 5 * pki._DAY, now + pki._DAY)
    refused.publish(builder.sign(issuer.key, crls.hashes.SHA256()).public_bytes(pki._PEM).decode())
    assert "has the CRL of 20" in refused.refuse()


def test_text_that_python_and_openssl_might_read_differently(refused):
    refused.authority.revoke(refused.authority.client("third"))
    begin, rest = refused.authority.crl.split("\n", 1)
    for odd in ("Proc-Type: 4,MIC-CLEAR\n\n", "!!!!\n"):
        refused.publish(f"{begin}\n{odd}{rest}")
        assert "damaged or cut off" in refused.refuse()


def test_another_one_under_the_same_number(refused):
    number = crls.state_of(crls.parse_crls(refused.authority.crl.encode(), "crl.pem")[0]).number
    now = times.now()
    state = CrlState(number, now, now + pki._DAY, 0)
    refused.publish(crls.build_crl(refused.authority.issuer, crls.encode_revoked({}), state).decode())
    assert "with another content than this host, under the same number" in refused.refuse()


def test_another_ca_of_the_same_name(refused, tmp_path):
    other = pki.Authority(tmp_path / "other", "Devices")
    other.revoke(other.client("somebody"))
    refused.publish(other.crl)
    assert "was not signed by a CA that this host trusts" in refused.refuse()


def test_one_of_another_ca_beside_ours(refused, tmp_path):
    refused.publish(refused.authority.crl + pki.Authority(tmp_path / "other", "Others").crl)
    assert "of CN=Others,O=Acme was not signed" in refused.refuse()


def test_one_that_was_cut_off(refused):
    refused.publish(refused.authority.crl[:-80])
    assert "damaged or cut off" in refused.refuse()


def test_a_number_that_was_altered(refused):
    """The signature is what counts."""
    refused.authority.revoke(refused.authority.client("third"))
    encoded = bytearray(crls.parse_crls(refused.authority.crl.encode(), "crl.pem")[0].encoded)
    encoded[len(encoded) // 2] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(encoded)).replace("CERTIFICATE", "X509 CRL")
    refused.publish(forged)
    said = refused.refuse()
    assert "was not signed by a CA" in said or "damaged" in said or "has another scope" in said, said


def test_a_delta_crl_and_another_scope(refused):
    key = refused.authority.issuer.key
    certificate = refused.authority.issuer.certificate
    for extension, critical, words in (
        (x509.DeltaCRLIndicator(3), True, "is a delta CRL"),
        (x509.IssuingDistributionPoint(None, None, False, True, None, False, False), True, "has another scope"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True, "has a critical extension"),
    ):
        now = times.now()
        builder = x509.CertificateRevocationListBuilder(certificate.subject, now, now + pki._DAY)
        builder = builder.add_extension(x509.CRLNumber(1000), critical=False)
        builder = builder.add_extension(refused.authority.issuer.key_identifier, critical=False)
        builder = builder.add_extension(extension, critical=critical)
        crl = builder.sign(key, crls.hashes.SHA256())
        refused.publish(crl.public_bytes(pki._PEM).decode())
        assert words in refused.refuse()


def test_an_entry_with_a_critical_extension(refused):
    """Whatever it says, nginx's OpenSSL would refuse the whole CRL."""
    issuer, now = refused.authority.issuer, times.now()
    entry = x509.RevokedCertificateBuilder(1234, now)
    entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
    entry = entry.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), critical=True)
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, now, now + pki._DAY)
    builder = builder.add_extension(x509.CRLNumber(1000), critical=False)
    builder = builder.add_extension(issuer.key_identifier, critical=False).add_revoked_certificate(entry.build())
    refused.publish(builder.sign(issuer.key, crls.hashes.SHA256()).public_bytes(pki._PEM).decode())
    assert "has a critical extension that nginx does not know" in refused.refuse()


@pytest.mark.parametrize("days", [-2, 12])
def test_a_clock_that_is_wrong(refused, monkeypatch, days):
    """Two days behind, the new CRL is not valid yet; twelve days ahead, it has expired."""
    refused.authority.revoke(refused.authority.client("third"))
    refused.publish()
    now = time.time() + days * 86400
    monkeypatch.setattr(crl_fetch.time, "time", lambda: now)
    well, said = refused.fetch()
    monkeypatch.undo()
    assert not well
    assert "and the clock of this host says" in said
    assert "timedatectl set-ntp true" in said
    assert refused.lets_in(refused.laptop)


def test_200_megabytes(refused):
    with (refused.public / "crl.pem").open("r+b") as stream:
        stream.truncate(200 << 20)
    began = time.monotonic()
    assert "answers with more than 16 MiB" in refused.refuse()
    assert time.monotonic() - began < 10


def test_a_circle_of_redirects(refused):
    refused.fetch_from(f"http://127.0.0.1:{refused.web}/round")
    assert "redirects too often" in refused.refuse()


def test_a_redirect_to_the_crl_is_followed(host):
    host.fetch_from(f"http://127.0.0.1:{host.web}/on")
    assert host.fetch()[0]


def test_a_redirect_to_a_file(refused):
    refused.fetch_from(f"http://127.0.0.1:{refused.web}/away")
    assert "redirects too often, or to no web address" in refused.refuse()


def test_a_page_that_is_not_there(refused):
    refused.fetch_from(f"http://127.0.0.1:{refused.web}/nothing.pem")
    assert "answers 404 (Not Found)" in refused.refuse()


def test_nobody_answers(refused):
    refused.fetch_from(f"http://127.0.0.1:{free_port()}/crl.pem")
    assert "cannot be fetched ([Errno 111] Connection refused)" in refused.refuse()


class Server:
    """A web server that says what nginx never would; over TLS with `identity`."""

    def __init__(self, answer: bytes, *, drip: float = 0.0, identity: pki.Identity | None = None) -> None:
        self._answer, self._drip = answer, drip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._tls = None
        if identity:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(identity.path)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _address = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), self._tls.wrap_socket(raw, True) if self._tls else raw as connection:
                connection.recv(65536)
                size = 1 if self._drip else len(self._answer)
                for start in range(0, len(self._answer), size):
                    connection.sendall(self._answer[start : start + size])
                    time.sleep(self._drip)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve():
    made = []

    def start(*args, **options) -> Server:
        made.append(Server(*args, **options))
        return made[-1]

    yield start
    for server in made:
        server.close()


def answer(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) if length is None else length, body)


def test_an_answer_that_ends_too_early(refused, serve):
    """Even where what has come is a whole CRL."""
    server = serve(answer(refused.authority.crl.encode(), 100_000))
    refused.fetch_from(f"http://127.0.0.1:{server.port}/crl.pem")
    assert "is cut off after" in refused.refuse()


def test_an_answer_that_never_ends(refused, serve, monkeypatch):
    monkeypatch.setattr(download, "SECONDS", 1.0)
    server = serve(answer(refused.authority.crl.encode()), drip=0.05)
    refused.fetch_from(f"http://127.0.0.1:{server.port}/crl.pem")
    began = time.monotonic()
    assert "took longer than 1 seconds" in refused.refuse()
    assert time.monotonic() - began < 5


def test_what_does_not_speak_http(refused, serve):
    server = serve(b"220 mail.example.com ESMTP\r\n")
    refused.fetch_from(f"http://127.0.0.1:{server.port}/crl.pem")
    assert "cannot be fetched" in refused.refuse()


def test_https_of_the_authority_itself(host, serve):
    server = serve(answer(host.authority.crl.encode()), identity=host.authority.server("localhost"))
    host.fetch_from(f"https://localhost:{server.port}/crl.pem")
    well, said = host.fetch()
    assert well, said


def test_https_of_somebody_else(refused, serve, tmp_path):
    other = pki.Authority(tmp_path / "other", "Others").server("localhost")
    server = serve(answer(refused.authority.crl.encode()), identity=other)
    refused.fetch_from(f"https://localhost:{server.port}/crl.pem")
    assert "certificate verify failed" in refused.refuse()


def test_no_way_from_https_to_http(refused, serve):
    location = f"http://127.0.0.1:{refused.web}/crl.pem".encode()
    moved = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
    server = serve(moved, identity=refused.authority.server("localhost"))
    refused.fetch_from(f"https://localhost:{server.port}/crl.pem")
    assert "redirects from https to http, which is not followed" in refused.refuse()


def test_no_openssl(refused, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "the program openssl, which checks the CRL, is missing" in refused.refuse()


def test_a_full_disk_at_the_swap(refused, monkeypatch):
    refused.authority.revoke(refused.authority.client("third"))
    refused.publish()
    write = swap._write

    def full(path, *args):
        if path.endswith(".mtls-new") and "revoked.map" in path:
            raise OSError(28, "No space left on device", path)
        write(path, *args)

    monkeypatch.setattr(swap, "_write", full)
    said = refused.refuse()
    assert "no space left on device" in said
    assert "Every file is as it was before." in said


def test_nginx_that_rejects_its_configuration(refused):
    refused.authority.revoke(refused.authority.client("third"))
    refused.publish()
    broken = refused.conf / "sites-enabled" / "broken"
    broken.write_text("sever {}\n")
    well, said = refused.fetch()
    broken.unlink()
    assert not well
    assert "nginx rejects this host's configuration as it is" in said
    assert refused.lets_in(refused.laptop)
    assert not refused.lets_in(refused.phone)
    well, said = refused.fetch()
    assert well, said


def test_an_expired_certificate_that_the_new_crl_leaves_out(host):
    """As the controller does (mtls_crl_prune); the CA's signature and a higher number say so."""
    host.authority.revoke(host.phone)
    host.publish()
    assert host.fetch()[0]
    now = times.now()
    state = CrlState(1000, now, now + pki._DAY, 0)
    host.publish(crls.build_crl(host.authority.issuer, crls.encode_revoked({}), state).decode())
    well, said = host.fetch()
    assert well, said
    assert "CRL 1000 of" in said


def test_a_host_that_was_never_set_up(host):
    (host.conf / "client-certs" / "crl.pem").unlink()
    well, said = host.fetch()
    assert not well
    assert "only the controller installs the first one" in said


def test_settings_that_were_damaged(host):
    (host.folder / "settings.json").write_text("{")
    program = [sys.executable, "-I", "-S", "-B", host.folder / "program", host.folder]
    done = subprocess.run(program, capture_output=True, text=True, env={"JOURNAL_STREAM": "8:1"}, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "the settings cannot be read" in done.stdout


def test_what_was_remembered_is_damaged(host):
    (host.folder / "state.json").write_text(json.dumps({"": {"odd": 1}}))
    assert host.fetch()[0]
