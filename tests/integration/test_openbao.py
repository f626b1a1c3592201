# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to OpenBao: several controllers, a server that stops, and all that can be wrong with it.

What every authority does is in test_contract.py.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao import lock
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal, parse_serial
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, run_module, tree

from .openbao import block
from .test_contract import BACKWARDS, Backend, crl_of, listed
from .test_workflow import service


class Authority:
    """One PKI mount, and any number of controllers."""

    def __init__(self, server, folder) -> None:
        self.server = server
        self.folder = folder
        self.settings = server.authority()
        self.mount = self.settings["mount"]

    def controller(self, name: str = "pki", **settings: object) -> Backend:
        return Backend(Access(str(self.folder / name), backend="openbao", settings={**self.settings, **settings}))

    def issued(self) -> dict[str, list[str]]:
        """Return the serials on the server by CN, without the CA's."""
        found: dict[str, list[str]] = {}
        for serial in self.server.ask("LIST", f"{self.mount}/certs")["keys"]:
            pem = self.server.ask("GET", f"{self.mount}/cert/{serial}")["certificate"]
            certificate = x509.load_pem_x509_certificate(pem.encode())
            if not profiles.is_ca(certificate):
                (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
                found.setdefault(name.value, []).append(parse_serial(serial))
        return found

    def revoked(self) -> list[str]:
        return [parse_serial(key) for key in self.server.ask("LIST", f"{self.mount}/certs/revoked").get("keys", ())]

    def change_role(self, role: str, **options: object) -> None:
        path = f"{self.mount}/roles/{role}"
        self.server.ask("POST", path, {**self.server.ask("GET", path), **options})

    def policy(self, text: str) -> str:
        """Return a token that may do this and nothing else."""
        self.server.ask("POST", f"sys/policies/acl/{self.mount}-other", {"policy": text})
        return self.server.client_token(f"{self.mount}-other")


@pytest.fixture
def authority(openbao, tmp_path):
    return Authority(openbao, tmp_path)


@pytest.fixture
def controller(authority):
    made = authority.controller()
    made.ensure()
    return made


def refused(controller: Backend, *clients: Client) -> str:
    """Expect one readable line, and nothing changed in the directory or in the record."""
    before = tree(controller.path)
    with pytest.raises(MtlsError) as caught:
        controller.serve(*(clients or (Client("phone"),)))
    text = str(caught.value)
    assert "\n" not in text
    after = tree(controller.path)
    for path in set(before) | set(after):
        if "/clients" not in path and not path.endswith((".lock", "/newcerts", "openbao.json")):
            assert before.get(path) == after.get(path), path
    for client in controller.path.glob("clients/*/*.crt"):
        assert str(client) in before
    return text


def test_four_controllers_side_by_side_issue_nothing_twice(authority):
    names = [f"phone-{number}" for number in range(24)]
    wanted = [{"name": name, "p12": "none"} for name in names]
    controllers = [authority.controller(f"controller-{number}") for number in range(4)]

    def options(each: Backend) -> dict:
        return {"ca_path": each.access.path, "ca_backend": "openbao", "ca_openbao": each.access.settings}

    def run(each: Backend) -> dict:
        made = run_module("ca_init", path=each.access.path, ca_backend="openbao", ca_openbao=each.access.settings)
        assert "failed" not in made, made
        return run_module("client_cert", **options(each), clients=wanted, key_type="ecdsa")

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, controllers))
    assert all("failed" not in result for result in results), results
    actions = [[client["action"] for client in result["clients"]] for result in results]
    assert sum(row.count("issued") for row in actions) == len(names)
    issued = authority.issued()
    assert {name: len(serials) for name, serials in issued.items()} == dict.fromkeys(names, 1)
    for result in results:
        assert {client["name"]: [client["serial"]] for client in result["clients"]} == issued
        assert result["unmanaged"] == []

    # Again: nobody changes anything, and those without the keys say so in one line.
    before = [tree(each.path) for each in controllers]
    for each, row in zip(controllers, actions, strict=True):
        again = run_module("client_cert", **options(each), clients=wanted, key_type="ecdsa")
        assert not again["changed"], again
        about = set(re.findall(r"(\d+) clients have a certificate whose private key is not here", again["raw"]))
        elsewhere = row.count("updated")
        assert about == ({str(elsewhere)} if elsewhere else set())
        assert authority.settings["token"] not in again["raw"]
    assert [tree(each.path) for each in controllers] == before

    # A server's certificate, which each makes for itself, is nobody's stray.
    for each in controllers[:2]:
        each.serve_hosts(servers.Server("nas", "web", ("nas.lan",)))
    assert controllers[0].serve(*(Client(name, p12="none") for name in names)).unmanaged == []

    # What one revokes is on every controller's CRL after its next run.
    controllers[0].serve(*(Client(name, revoked=name == names[0]) for name in names))
    for each in controllers:
        assert each.refresh_crl() is not None
        assert listed(crl_of(each)) == {int(issued[names[0]][0], 16)}
        assert each.refresh_crl() is None


def test_only_the_controller_with_the_key_renews(authority):
    one, other = authority.controller("one"), authority.controller("other")
    one.ensure(), other.ensure()
    short, longer = Client("phone", days=20, renew_before=10), Client("phone", days=90, renew_before=30)
    assert one.actions(short) == ["issued"]
    assert other.actions(short) == ["updated"]
    waiting = other.serve(longer)
    assert [result.action for result in waiting.results] == ["unchanged"]
    assert any("1 clients are due for another certificate: phone" in text for text in waiting.warnings)
    assert one.actions(longer) == ["renewed"]
    assert other.actions(longer) == ["updated"]
    assert other.actions(longer) == ["unchanged"]
    assert other.certificate("phone") == one.certificate("phone")

    # Another subject: the same.
    moved = Client("phone", subject=BACKWARDS, days=90)
    assert other.actions(moved) == ["unchanged"]
    assert one.actions(moved) == ["issued"]
    assert other.actions(moved) == ["updated"]
    assert other.certificate("phone") == one.certificate("phone")

    # Revoked by one and back by the other: it now has the key.
    assert other.actions(Client("phone", subject=BACKWARDS, revoked=True)) == ["revoked"]
    assert len(authority.revoked()) == 3
    assert other.actions(moved) == ["issued"]
    assert one.actions(moved) == ["updated"]
    assert one.actions(moved) == ["unchanged"]
    assert one.certificate("phone") == other.certificate("phone")
    assert not (one.path / "clients" / "phone" / "phone.key").exists()
    assert len(authority.issued()) == 2


def test_the_server_is_restarted_in_mid_run(openbao, authority, controller):
    wanted = [Client(f"phone-{number}", p12="none") for number in range(400)]
    failures = []

    def run() -> None:
        try:
            controller.serve(*wanted)
        except MtlsError as error:
            failures.append(str(error))

    # A process of its own: what it has in memory must not help the next one.
    child = os.fork()
    if child == 0:
        run()
        (controller.path.parent / "said").write_text("\n".join(failures))
        os._exit(0)
    deadline = time.monotonic() + 60
    while len(list((controller.path / "newcerts").iterdir())) < 60:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    openbao.kill()
    try:
        os.waitpid(child, 0)
        (said,) = (controller.path.parent / "said").read_text().splitlines()
        assert "is not reachable" in said
        assert "run again when it is back: what was issued is kept" in said
        assert "is not reachable" in refused(controller, *wanted)
    finally:
        openbao.start()
    assert set(controller.actions(*wanted)) <= {"issued", "updated", "unchanged"}
    assert {name: len(serials) for name, serials in authority.issued().items()} == {each.name: 1 for each in wanted}
    assert set(controller.actions(*wanted)) == {"unchanged"}


def test_a_certificate_that_did_not_arrive_is_found(authority, controller, monkeypatch):
    ask = Server.ask

    def cut_off(self, method, path, *arguments, **options):
        answer = ask(self, method, path, *arguments, **options)
        if "/sign/" in path:
            raise MtlsError("the line was cut")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Server, "ask", cut_off)
        with pytest.raises(MtlsError, match="the line was cut"):
            controller.serve(Client("phone"))
    assert len(authority.issued()["phone"]) == 1
    assert controller.recorded() == []
    assert controller.actions(Client("phone")) == ["updated"]
    assert len(authority.issued()["phone"]) == 1


def test_the_lock_of_a_killed_run(authority, monkeypatch):
    one, other = authority.controller("one"), authority.controller("other")
    one.ensure(), other.ensure()
    child = os.fork()
    if child == 0:
        with one.open():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    # Another waits for as long as it might still be alive, by the server's clock.
    monkeypatch.setattr(lock, "WAIT", 1)
    assert "another controller" in refused(other)
    # The same controller knows its own.
    one.serve(Client("phone"))
    other.serve(Client("phone"))
    child = os.fork()
    if child == 0:
        with one.open():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    monkeypatch.setattr(lock, "LEASE", 1)
    monkeypatch.setattr(lock, "WAIT", 30)
    assert other.actions(Client("phone")) == ["unchanged"]


def test_who_lost_the_lock_stops(authority, monkeypatch):
    one, other = authority.controller("one"), authority.controller("other")
    one.ensure(), other.ensure()
    with one.open() as holding:
        monkeypatch.setattr(lock, "LEASE", 0)
        with other.open():
            pass
        with pytest.raises(MtlsError, match="lost the lock to another controller"):
            holding.write_crl(30)


def test_check_mode_only_reads(authority, controller):
    controller.serve(Client("phone"))
    reader = authority.policy(
        f'path "{authority.mount}/certs" {{ capabilities = ["list"] }}\n'
        f'path "{authority.mount}/certs/revoked" {{ capabilities = ["list"] }}\n'
    )
    fresh = authority.controller("fresh", token=reader)
    assert fresh.ensure(check=True).created
    reading = authority.controller(token=reader)
    before = tree(reading.path)
    assert reading.actions(Client("phone", revoked=True), Client("tablet"), check=True) == ["revoked", "issued"]
    assert tree(reading.path) == before
    # What another controller did since is seen, though not written down.
    other = authority.controller("other")
    other.ensure()
    other.serve(Client("tablet"))
    assert reading.actions(Client("phone"), Client("tablet"), check=True) == ["unchanged", "updated"]
    assert tree(reading.path) == before


def test_ways_to_log_in(openbao, authority, controller, monkeypatch, tmp_path):
    enable, create = block("sh", "auth/approle/role").splitlines()
    if "approle/" not in openbao.ask("GET", "sys/auth"):
        openbao.shell(enable)
    openbao.shell(create.replace("=mtls ", f"=mtls-{authority.mount} "))
    role = "auth/approle/role/mtls-controller"
    role_id = openbao.ask("GET", f"{role}/role-id")["role_id"]
    secret_id = openbao.ask("POST", f"{role}/secret-id")["secret_id"]
    token = authority.settings["token"]
    (tmp_path / "token").write_text(f"{token}\n")
    nothing = {"token": None}
    assert controller.actions(Client("phone")) == ["issued"]
    for settings in ({"token_file": str(tmp_path / "token")}, {"role_id": role_id, "secret_id": secret_id}):
        assert authority.controller(**nothing, **settings).actions(Client("phone")) == ["unchanged"]
    for name in ("BAO_TOKEN", "VAULT_TOKEN"):
        with monkeypatch.context() as patch:
            patch.setenv(name, token)
            assert authority.controller(**nothing).actions(Client("phone")) == ["unchanged"]
    assert "there is no token" in refused(authority.controller(**nothing))
    assert "needs both" in refused(authority.controller(**nothing, role_id=role_id))
    said = refused(authority.controller(**nothing, role_id=role_id, secret_id="wrong-secret-id"))
    assert "AppRole was not accepted" in said
    assert "wrong-secret-id" not in said
    assert "is empty" in refused(authority.controller(**nothing, token_file=os.devnull))
    assert "that no token can have" in refused(authority.controller(token="line\nbreak"))
    said = refused(authority.controller(token="s.WrongWrongWrong"))
    assert "is denied" in said
    assert "WrongWrong" not in said


def test_secrets_are_nowhere_in_what_a_module_says(authority, controller):
    result = run_module(
        "client_cert",
        ca_path=controller.access.path,
        ca_backend="openbao",
        ca_openbao={**authority.settings, "token": "s.SecretSecretSecret"},
        clients=[{"name": "phone"}],
    )
    assert result["failed"]
    assert "SecretSecret" not in result["raw"]
    assert "Traceback" not in result["raw"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "https://127.0.0.1:1"}, "is not reachable"),
        ({"url": "https://no-such-host.invalid:8200"}, "is not reachable"),
        ({"url": "http://bao.example.com:8200"}, "must not be sent unencrypted"),
        ({"url": "bao.example.com"}, "is not a plain address"),
        ({"ca_file": None}, "its certificate is not trusted"),
        ({"ca_file": "/nonexistent/ca.pem"}, "correct ca_file"),
        ({"ca_file": os.devnull}, "correct ca_file"),
        ({"namespace": "nobody"}, "has no namespace 'nobody'"),
        ({"mount": "elsewhere"}, "there is no PKI engine"),
        ({"mount": "secret"}, "there is no PKI engine"),
        ({"client_role": "nobody"}, "sign/nobody is denied"),
        ({"client_role": "nobody", "token": None}, "role nobody does not sign for CN=phone: unknown role"),
        ({"lock_mount": "elsewhere"}, "denied|no KV engine"),
    ],
)
def test_wrong_settings(authority, controller, settings, said):
    if "token" in settings:
        settings = {**settings, "token": authority.server.token}
    assert re.search(said, refused(authority.controller(**settings)))
    assert authority.issued() == {}


def test_a_copied_directory_is_another_controller(authority, controller, monkeypatch):
    shutil.copytree(controller.path, authority.folder / "copy")
    monkeypatch.setattr(lock, "WAIT", 1)
    with controller.open():
        assert "another controller" in refused(authority.controller("copy"))
    assert authority.controller("copy").actions(Client("phone")) == ["issued"]


def test_another_kind_of_server(controller, authority):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        text = refused(authority.controller(url=f"http://127.0.0.1:{page.server_port}"))
        page.shutdown()
    assert "does not answer as OpenBao" in text


def test_wrong_ports_and_clocks(openbao, authority, controller, monkeypatch):
    assert "TLS fails" in refused(authority.controller(url=f"https://127.0.0.1:{plain_port()}"))
    ended = refused(authority.controller(url=f"https://127.0.0.1:{plain_port(says=b'')}"))
    assert "is not reachable" in ended, "as of a server that is stopped in the midst of TLS"
    moment = times.now() + timedelta(hours=1)
    monkeypatch.setattr(times, "now", lambda: moment)
    assert "its clock says" in refused(controller)


def plain_port(says: bytes = b"220 hello\r\n") -> int:
    """A port where somebody listens, says something that is not TLS, and hangs up."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        with contextlib.suppress(OSError):
            connection, _address = listener.accept()
            connection.recv(1 << 16)
            connection.sendall(says)
            connection.close()
            listener.close()

    threading.Thread(target=speak, daemon=True).start()
    return listener.getsockname()[1]


def test_sealed(openbao, controller):
    openbao.bao("operator", "seal")
    try:
        assert "is sealed; unseal it" in refused(controller)
    finally:
        openbao.unseal()
    assert controller.actions(Client("phone")) == ["issued"]


@pytest.mark.parametrize(
    ("lacking", "subject", "said"),
    [
        ("pki/certs ", None, "LIST {mount}/certs is denied"),
        ("pki/certs/revoked", None, "LIST {mount}/certs/revoked is denied"),
        ("pki/sign/client", None, "POST {mount}/sign/client is denied"),
        ("pki/sign-verbatim/client", BACKWARDS, "POST {mount}/sign-verbatim/client is denied"),
        ("secret/data/", None, "GET secret/data/mtls-nginx/{mount} is denied"),
    ],
)
def test_denied_names_path_and_capability(authority, controller, lacking, subject, said):
    lines = block("hcl", "pki/sign/client").replace('"pki/certs" ', '"pki/certs "').splitlines()
    kept = "\n".join(line for line in lines if lacking not in line).replace('"pki/certs "', '"pki/certs" ')
    token = authority.policy(kept.replace('"pki/', f'"{authority.mount}/').replace('/pki"', f'/{authority.mount}"'))
    text = refused(authority.controller(token=token), Client("phone", subject=subject))
    assert said.format(mount=authority.mount) in text
    assert "policy must grant" in text


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ({"server_flag": True}, "it is not for clients alone; it was revoked at once"),
        ({"organization": ["Somebody"]}, "its subject is CN=phone,O=Somebody"),
        (
            {"allow_any_name": False, "cn_validations": ["hostname"]},
            "does not sign for CN=phone: common name phone not allowed by this role",
        ),
        ({"key_type": "rsa", "key_bits": 2048}, "role requires keys of type rsa"),
        ({"not_after": "2026-12-31T00:00:00Z"}, "it expires on|does not sign"),
        ({"not_after_bound": "ttl-limited", "ttl": "24h"}, "does not sign for CN=phone: not_after_bound"),
    ],
)
def test_a_role_that_makes_something_else(authority, controller, role, said):
    authority.change_role("client", **role)
    assert re.search(said, refused(controller, *(Client(f"phone{n or ''}") for n in range(5))))
    wrong = authority.issued()
    assert set(wrong) <= {"phone"}
    assert sorted(authority.revoked()) == sorted(serial for serials in wrong.values() for serial in serials)


def test_a_mount_without_ca_and_a_directory_of_another_authority(openbao, authority, controller, tmp_path):
    bare = openbao.authority(root=False)
    nobody = Backend(Access(str(tmp_path / "bare"), backend="openbao", settings=bare))
    with pytest.raises(MtlsError, match="has no CA; make one there: `bao secrets tune"):
        nobody.ensure()
    assert not nobody.path.exists()
    other = openbao.authority()
    mixed = authority.controller(**{key: other[key] for key in ("mount", "token")})
    assert "correct the mount, or choose another directory" in refused(mixed)
    before = tree(mixed.path)
    with pytest.raises(MtlsError, match="choose another directory"):
        mixed.ensure()
    assert tree(mixed.path) == before


def test_what_the_server_cannot_do_with_a_revocation(authority, controller):
    controller.serve(Client("phone"))
    text = refused(controller, Client("phone", revoked=True, reason="certificateHold"))
    assert "revokes for good" in text
    assert authority.revoked() == []


def test_a_crl_that_is_too_short_says_which_setting(openbao, authority, controller):
    openbao.ask("POST", f"{authority.mount}/config/crl", {"expiry": "72h"})
    (controller.path / "crl.pem").unlink()
    with controller.open() as opened:
        opened.crl_due(7)
        openbao.ask("GET", f"{authority.mount}/crl/rotate")
        opened.write_crl(30)
        assert any(f"`bao write {authority.mount}/config/crl expiry=720h`" in text for text in opened.warnings)
    with controller.open() as opened:
        assert opened.crl_due(7) is None
        assert any("are valid for 3 days only" in text for text in opened.warnings)


def test_a_damaged_mirror_is_mended(authority, controller):
    controller.serve(Client("phone"), Client("tablet"))
    first, second = sorted((controller.path / "newcerts").iterdir())
    first.write_bytes(b"")
    second.unlink()
    for client in ("phone", "tablet"):
        (controller.path / "clients" / client / f"{client}.crt").unlink()
    assert controller.actions(Client("phone"), Client("tablet")) == ["updated"] * 2
    for name in ("index.txt", "crl.pem"):
        (controller.path / name).unlink()
    made = controller.ensure()
    assert set(made.added) == {"index.txt", "crl.pem"}
    assert controller.actions(Client("phone"), Client("tablet")) == ["unchanged"] * 2
    assert len(controller.recorded()) == 2


def crl_number(controller: Backend) -> int:
    return crl_of(controller).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_controller_takes_the_newer_crl_that_another_one_had_made(authority, controller):
    """Hosts have it by then, and take none that is older."""
    controller.serve(Client("phone"))
    controller.refresh_crl()
    other = authority.controller("other")
    other.ensure()
    other.refresh_crl()
    assert other.actions(Client("phone", revoked=True)) == ["revoked"]
    other.refresh_crl()
    authority.server.ask("GET", f"{authority.mount}/crl/rotate")
    other.refresh_crl()
    controller.serve()
    controller.refresh_crl()
    assert crl_of(controller) == crl_of(other)
    with controller.open(read_only=True) as opened:
        assert opened.crl_due(7) is None


def test_numbers_of_crls_go_on_where_the_directory_ended(openbao, tmp_path):
    path = tmp_path / "pki"
    before = Backend(Access(str(path)))
    before.ensure()
    before.serve(Client("phone"), Client("lost"))
    with before.open() as opened:
        for _again in range(4):
            opened.write_crl(30)
    number = crl_number(before)
    settings = openbao.authority(root=False)
    commands = block("sh", "issuers/import").replace("write pki/", f"write {settings['mount']}/")
    openbao.shell(f"cd {tmp_path}\n{commands}")
    after = Backend(Access(str(path), backend="openbao", settings=settings))
    after.ensure()
    (path / "ca.key").unlink()
    assert after.actions(Client("phone"), Client("lost", revoked=True)) == ["unchanged", "revoked"]
    after.refresh_crl()
    moved = crl_number(after)
    assert moved > number
    assert after.refresh_crl() is None
    assert crl_number(after) == moved


def test_from_directory_to_openbao(openbao, authority, tmp_path):
    path = tmp_path / "pki"
    before = Backend(Access(str(path)))
    before.ensure()
    before.serve(Client("phone"), Client("lost"), Client("tablet"))
    before.serve_hosts(servers.Server("nas", "web", ("nas.lan",)))
    before.serve(Client("phone"), Client("lost", revoked=True, reason="keyCompromise"), Client("tablet"))
    before.refresh_crl()
    serials = {name: before.certificate(name).serial_number for name in ("phone", "lost", "tablet")}

    settings = openbao.authority(root=False)
    commands = block("sh", "issuers/import").replace("write pki/", f"write {settings['mount']}/")
    openbao.shell(f"cd {tmp_path}\n{commands}")
    after = Backend(Access(str(path), backend="openbao", settings=settings))
    moved = after.ensure()
    assert not moved.created
    assert any("the key is on the controller too" in text for text in moved.warnings)
    (path / "ca.key").unlink()
    wanted = Client("phone"), Client("lost", revoked=True), Client("tablet")
    assert after.actions(*wanted) == ["unchanged"] * 3
    assert [each.action for each in after.serve_hosts(servers.Server("nas", "web", ("nas.lan",)))] == ["unchanged"]
    # What was revoked before is revoked there too, and what is older than the server can be.
    after.refresh_crl()
    (path / "crl.pem").unlink()
    after.refresh_crl()
    assert listed(crl_of(after)) == {serials["lost"]}
    assert after.actions(Client("phone", revoked=True), *wanted[1:]) == ["revoked", "unchanged", "unchanged"]
    after.refresh_crl()
    assert listed(crl_of(after)) == {serials["lost"], serials["phone"]}
    assert after.actions(*wanted) == ["issued", "unchanged", "unchanged"]
    with after.open(read_only=True) as opened:
        assert opened.record.get(hexadecimal(serials["lost"])).reason == "keyCompromise"
        assert opened.crl_due(7) is None


def test_an_intermediate_with_its_root_in_the_same_mount(openbao, authority, controller):
    mount = authority.mount
    controller.serve(Client("of-the-root"))
    (others,) = authority.issued()["of-the-root"]
    csr = openbao.ask("POST", f"{mount}/issuers/generate/intermediate/internal", {"common_name": "Middle"})["csr"]
    signed = openbao.ask(
        "POST", f"{mount}/root/sign-intermediate", {"csr": csr, "common_name": "Middle", "ttl": "80000h"}
    )
    made = openbao.ask("POST", f"{mount}/issuers/import/cert", {"pem_bundle": signed["certificate"]})
    (issuer,) = made["imported_issuers"]
    openbao.ask("POST", f"{mount}/config/issuers", {"default": issuer})
    assert "signs with CN=Middle" in refused(controller)
    controller = authority.controller("middle")
    controller.ensure(subject={"CN": "Middle"})
    assert controller.actions(Client("phone")) == ["issued"]
    published = read_authority(controller.access.path)
    assert len(x509.load_pem_x509_certificates(published.chain())) == 2
    assert len(crls.parse_crls(published.crl(), "crl")) == 2
    assert json.loads((controller.path / "openbao.json").read_text()) == {"others": [others]}
    before = tree(controller.path)
    assert controller.actions(Client("phone")) == ["unchanged"]
    assert controller.serve(Client("phone")).unmanaged == []
    assert tree(controller.path) == before
    assert len(controller.recorded()) == 1


def test_a_site_from_the_inventory(site, upstream, authority):
    port = free_port()
    site.all_vars |= {"mtls_ca_backend": "openbao", "mtls_ca_openbao": authority.settings, "mtls_ca_subject": SUBJECT}
    del site.all_vars["mtls_ca_passphrase"]
    site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "tablet"}])
    site.host_vars["nas"]["mtls_services"] = [service(port, upstream, allow=["phone"])]
    first = site.ok()
    assert [site.status(port, client=name) for name in ("phone", "tablet")] == [200, 403]
    assert authority.settings["token"] not in first.text
    assert site.ok().changed == 0
    site.host_vars["nas"]["mtls_clients"][0]["state"] = "revoked"
    site.host_vars["nas"]["mtls_services"][0]["allow"] = ["tablet"]
    site.ok()
    assert [site.status(port, client=name) for name in ("phone", "tablet")] == [400, 200]
    assert len(authority.revoked()) == 1


def test_a_client_with_an_ed25519_key(authority, controller):
    """A role for keys of any type signs it; one of another type says so, and nothing stays."""
    authority.change_role("client", key_type="rsa", key_bits=2048)
    assert "role requires keys of type rsa" in refused(controller, Client("ci", key_type="ed25519"))
    authority.change_role("client", key_type="any")
    (result,) = controller.serve(Client("ci", key_type="ed25519")).results
    assert result.action == "issued"
    certificate = x509.load_pem_x509_certificate(pathlib.Path(result.certificate).read_bytes())
    assert keys.key_type(certificate.public_key()) == "ed25519"
    (again,) = controller.serve(Client("ci", key_type="ed25519")).results
    assert again.action == "unchanged"


def test_a_mount_with_an_ed25519_ca(openbao, tmp_path):
    settings = openbao.authority(root=False)
    path = f"{settings['mount']}/root/generate/internal"
    openbao.ask("POST", path, {"common_name": "Edwards", "key_type": "ed25519", "ttl": "87600h"})
    controller = Backend(Access(str(tmp_path / "edwards"), backend="openbao", settings=settings))
    controller.ensure(subject={"CN": "Edwards"})
    results = controller.serve(Client("ci", key_type="ed25519"), Client("lost", key_type="ecdsa")).results
    assert [result.action for result in results] == ["issued", "issued"]
    assert (
        controller.serve(Client("ci", key_type="ed25519"), Client("lost", revoked=True)).results[1].action == "revoked"
    )
