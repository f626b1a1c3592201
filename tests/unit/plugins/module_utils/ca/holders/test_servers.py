# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server certificates of the authority."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.servers import Server
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import later, lint, openssl, tree

NAS = Server("nas", "web", ("secure.example.com", "192.0.2.1", "2001:db8::1"))


def serve(pki, *wanted: Server, check: bool = False) -> list[servers.ServerResult]:
    with pki.open(read_only=check) as authority:
        return servers.reconcile(authority, wanted, new_key_type="ecdsa", check=check)


def test_a_server_certificate_is_for_its_names_and_for_servers_only(pki):
    (result,) = serve(pki, NAS)
    assert (result.action, result.because, result.entry.dn) == ("issued", "had no certificate", "CN=secure.example.com")
    assert result.certificate == str(pki.path / "servers/nas/web.crt")
    assert stat.S_IMODE((pki.path / "servers/nas/web.key").stat().st_mode) == 0o600
    lint("cert", result.certificate)
    lint("chain", pki.path / "ca.crt", result.certificate)
    for name in ("-verify_hostname", "secure.example.com"), ("-verify_ip", "192.0.2.1"), ("-verify_ip", "2001:db8::1"):
        openssl("verify", "-x509_strict", *name, "-purpose", "sslserver", "-CAfile", "ca.crt", result.certificate,
                cwd=pki.path)  # fmt: skip
    openssl("verify", "-purpose", "sslclient", "-CAfile", "ca.crt", result.certificate, cwd=pki.path, ok=False)
    openssl("verify", "-verify_hostname", "b.test", "-CAfile", "ca.crt", result.certificate, cwd=pki.path, ok=False)


def test_the_second_run_and_check_mode_change_nothing_and_open_nothing(pki, monkeypatch):
    assert [result.action for result in serve(pki, NAS, check=True)] == ["issued"]
    assert not (pki.path / "servers/nas").exists()
    serve(pki, NAS)
    for lost in (None, "servers/register.json", "servers/nas/web.crt"):
        if lost is not None:
            (pki.path / lost).unlink()
            serve(pki, NAS)
        before = tree(pki.path)
        for check in (True, False):
            with monkeypatch.context() as patched:
                patched.setattr(servers, "read_certificates", lambda _path: pytest.fail("a file was opened"))
                assert [result.action for result in serve(pki, NAS, check=check)] == ["unchanged"]
            assert tree(pki.path) == before
    assert len(pki.index()) == 1


@pytest.mark.parametrize(
    ("how", "action", "because"),
    [
        (["-md", "sha1"], "renewed", "the certificate is signed with SHA-1, which nginx refuses"),
        ([], "issued", "the certificate has an RSA key of 1024 bits, which nginx refuses"),
    ],
)
def test_a_certificate_that_nginx_does_not_start_with_is_replaced(pki, how, action, because):
    folder = pki.path / "servers/nas"
    folder.mkdir()
    kind = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256") if how else ("rsa:1024",)
    request, name = pki.path / "web.csr", NAS.names[0]
    openssl("req", "-new", "-nodes", "-newkey", *kind, "-subj", f"/CN={name}", "-keyout", folder / "web.key",
            "-out", request, cwd=pki.path)  # fmt: skip
    pki.ca(*how, "-extensions", "server", "-in", request, "-out", folder / "web.crt")
    (foreseen,) = serve(pki, NAS, check=True)
    (result,) = serve(pki, NAS)
    assert (foreseen.action, foreseen.because) == (result.action, result.because) == (action, because)
    openssl("verify", "-auth_level", "2", "-CAfile", "ca.crt", result.certificate, cwd=pki.path)
    assert serve(pki, NAS)[0].action == "unchanged"


def test_other_names_are_another_certificate_with_the_same_key(pki):
    serve(pki, NAS)
    key = (pki.path / "servers/nas/web.key").read_bytes()
    (result,) = serve(pki, replace(NAS, names=("other.example.com",)))
    assert (result.action, result.because) == ("issued", "the server names changed")
    assert (pki.path / "servers/nas/web.key").read_bytes() == key
    assert pki.serve(Client("a")).unmanaged == [], "server certificates are no strangers, former ones neither"


def test_renewal_and_revocation(pki, monkeypatch):
    serve(pki, NAS)
    key = (pki.path / "servers/nas/web.key").read_bytes()
    later(monkeypatch, days=336)
    (renewed,) = serve(pki, NAS)
    assert renewed.action == "renewed"
    assert (pki.path / "servers/nas/web.key").read_bytes() == key
    with pki.open() as authority:
        authority.revoke({renewed.entry.serial: "keyCompromise"})
    (pki.path / f"newcerts/{renewed.entry.serial}.pem").unlink()
    (again,) = serve(pki, NAS)
    assert (again.action, again.because) == ("issued", "the certificate is revoked")
    assert (pki.path / "servers/nas/web.key").read_bytes() != key
    assert (pki.path / f"servers/nas/web-{renewed.entry.serial}.key").read_bytes() == key


def test_a_new_key_beside_a_revoked_certificate_is_used(pki):
    (revoked,) = serve(pki, NAS)
    with pki.open() as authority:
        authority.revoke({revoked.entry.serial: "keyCompromise"})
    key = pki.path / "servers/nas/web.key"
    key.unlink()
    openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key, cwd=pki.path)
    before = key.read_bytes()
    assert serve(pki, NAS)[0].action == "issued"
    assert key.read_bytes() == before
    assert [path.name for path in key.parent.glob("*.key")] == ["web.key"]


@pytest.mark.parametrize("lost", ["its file", "its file and the register", "nothing, and the names are others"])
def test_the_key_of_a_revoked_certificate_is_not_used_again_where_the_certificate_is_gone(pki, lost):
    (revoked,) = serve(pki, NAS)
    key = pki.path / "servers/nas/web.key"
    before = key.read_bytes()
    with pki.open() as authority:
        authority.revoke({revoked.entry.serial: "keyCompromise"})
    wanted = replace(NAS, names=("other.example.com",)) if "names" in lost else NAS
    (pki.path / "servers/nas/web.crt").unlink()
    if "register" in lost:
        (pki.path / "servers/register.json").unlink()
    (result,) = serve(pki, wanted)
    assert (result.action, result.because) == ("issued", "had no certificate")
    assert key.read_bytes() != before
    assert (pki.path / f"servers/nas/web-{revoked.entry.serial}.key").read_bytes() == before
    assert serve(pki, wanted)[0].action == "unchanged"


def test_the_key_of_a_former_certificate_that_is_revoked_is_not_used_for_the_next_one(pki):
    (former,) = serve(pki, NAS)
    serve(pki, replace(NAS, names=("other.example.com",)))
    key = pki.path / "servers/nas/web.key"
    before = key.read_bytes()
    with pki.open() as authority:
        authority.revoke({former.entry.serial: "keyCompromise"})
    assert serve(pki, replace(NAS, names=("third.example.com",)))[0].action == "issued"
    assert key.read_bytes() != before


def test_a_certificate_that_is_not_recorded_is_followed_by_one_that_is(pki):
    """As an old copy of index.txt and newcerts leaves it."""
    (lost,) = serve(pki, NAS)
    (pki.path / "index.txt").write_text("")
    (pki.path / f"newcerts/{lost.entry.serial}.pem").unlink()
    (result,) = serve(pki, NAS)
    assert (result.action, result.because) == ("issued", "the certificate was not in index.txt")


def test_a_long_first_name_leaves_the_cn_to_the_next(pki):
    long = "a" * 60 + ".example.com"
    (result,) = serve(pki, replace(NAS, names=(long,)))
    assert result.entry.dn == "CN=web"
    lint("cert", result.certificate)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (NAS, "is in the list twice"),
        (Server("b", "WEB", ("a.b",)), "service name 'WEB'"),
        (Server("../b", "web", ("a.b",)), "host '../b': its name cannot be that of a directory"),
        (Server("b", "web", ()), "has no server_names"),
        (Server("b", "web", ("a b",)), "host 'b', service 'web': server name 'a b' is neither"),
        (Server("b", "web", ("bücher.example",)), "is neither"),
        (Server("b", "web", ("fe80::1%eth0",)), "server name 'fe80::1%eth0' is neither"),
        (Server("b", "web", ("*",)), "is neither"),
        (Server("b", "web", ("a.*.b",)), "is neither"),
        (Server("b", "web", ("a.b",), days=30), "renew_before is 30 and days is 30"),
        (Server("b", "web", ("a.b",), days=5000), "use at most"),
    ],
)
def test_mistakes_change_nothing(pki, wanted, complaint):
    before = tree(pki.path)
    with pytest.raises(MtlsError) as caught:
        serve(pki, NAS, wanted)
    assert complaint in str(caught.value)
    assert tree(pki.path) == before


def wanted(host: str = "b", name: str = "a.b", days: int = 365, renew_before: int = 30) -> list[Server]:
    return [Server(host, "web", (name,), days=days, renew_before=renew_before)]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "*.example.com",
            "a",
            "A.z",
            "Z.a",
            "0.9",
            "Q5q.Q.5.q",
            "a-b--c.d",
            "xn--bcher-kva.example",
            "192.0.2.1",
            "::1",
        ),
        *(f"{'aB-' * 20}099.b", f"{'a' * 63}.b", ".".join(["a" * 49] * 5) + ".abc"),
    ],
)
def test_names_that_a_certificate_can_be_for(name):
    servers.check_servers(wanted(name=name))
    assert len(name) <= 253
    for host in ("web.example.com", "büro 1", "b"):
        servers.check_servers(wanted(host, name))


@pytest.mark.parametrize(
    "name",
    [
        "-a.b",
        "a-.b",
        "a.-b",
        "a.b-",
        "a..b",
        "a.b.",
        ".a",
        "*ab.c",
        "**.a",
        "a_b.c",
        "a:b.c",
        "a" * 64,
        "a." * 126 + "ab",
    ],
)
def test_names_that_no_certificate_can_be_for(name):
    with pytest.raises(MtlsError, match="is neither a DNS name"):
        servers.check_servers(wanted(name=name))


@pytest.mark.parametrize("host", ["", ".", "..", ".hidden", "a/b", "/etc", "a\nb"])
def test_hosts_that_can_be_no_directory(host):
    for check in (servers.check_servers, lambda servers_: servers.foresee_first_run(servers_, "servers")):
        with pytest.raises(MtlsError, match="its name cannot be that of a directory"):
            check(wanted(host))


def test_the_shortest_life_is_a_day(pki):
    assert serve(pki, *wanted(days=1, renew_before=0))[0].action == "issued"
    assert serve(pki, *wanted(days=1, renew_before=0))[0].action == "unchanged"


def test_a_key_is_not_overwritten_by_another_type(pki):
    serve(pki, NAS)
    with pytest.raises(MtlsError, match=r"key_type is rsa, and .* is ecdsa"):
        serve(pki, replace(NAS, key_type="rsa"))
    serve(pki, replace(NAS, name="old", key_type="rsa"))
    with pytest.raises(MtlsError, match=r"key_type is ecdsa, and .* is rsa"):
        serve(pki, replace(NAS, name="old", key_type="ecdsa"))


def test_a_certificate_that_is_about_to_end_is_not_picked_up_but_renewed(pki, monkeypatch):
    (first,) = serve(pki, NAS)
    (pki.path / "servers/nas/web.crt").unlink()
    later(monkeypatch, days=336)
    (result,) = serve(pki, NAS)
    assert result.entry.serial != first.entry.serial
    assert serve(pki, NAS)[0].action == "unchanged"


def test_a_certificate_of_a_killed_run_is_picked_up(pki):
    server = Server("h", "s", ("nas.lan", "nas2.lan"))

    def serve():
        with pki.open() as authority:
            return servers.reconcile(authority, [server], new_key_type="ecdsa", check=False)[0]

    issued = serve()
    (pki.path / "servers/h/s.crt").unlink()
    (pki.path / "servers/register.json").unlink()
    restored = serve()
    assert restored.entry.serial == issued.entry.serial
    assert (restored.action, len(pki.index())) == ("issued", 1)
    assert serve().action == "unchanged"
    (pki.path / "servers/h/s.crt").unlink()
    (pki.path / f"newcerts/{issued.entry.serial}.pem").unlink()
    assert serve().entry.serial != issued.entry.serial


def test_a_certificate_of_another_authority_or_for_another_key_is_replaced(pki):
    serve(pki, NAS)
    folder = pki.path / "servers/nas"
    good, key = (folder / "web.crt").read_bytes(), (folder / "web.key").read_bytes()
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other")
    openssl("req", "-x509", *curve, "-out", folder / "web.crt", "-keyout", folder / "web.key", cwd=pki.path)
    (result,) = serve(pki, NAS)
    assert (result.action, result.because) == ("issued", f"{folder}/web.crt is not by this authority")

    (folder / "web.crt").write_bytes(good)
    (result,) = serve(pki, NAS)
    assert result.action == "issued"
    assert result.because.startswith("the certificate was for another key; ")
    assert (folder / "web.key").read_bytes() != key
    assert serve(pki, NAS)[0].action == "unchanged"


@pytest.mark.parametrize(
    ("option", "said"), [({"days": 0}, "days is 0; use 1 or more"), ({"renew_before": -1}, "renew_before is -1; use 0")]
)
def test_days_that_cannot_be(pki, option, said):
    with pytest.raises(MtlsError, match=said):
        serve(pki, replace(NAS, **option))


def test_browsers_get_no_ed25519_key(pki):
    serve(pki, NAS)
    key = pki.path / "servers/nas/web.key"
    key.unlink()
    openssl("genpkey", "-algorithm", "ed25519", "-out", key, cwd=pki.path)
    before = tree(pki.path)
    for check in (True, False):
        with pytest.raises(
            MtlsError, match=r"web\.key: is of type ed25519, which browsers do not accept from a server"
        ):
            serve(pki, NAS, check=check)
    assert tree(pki.path) == before


def test_what_only_stands_in_is_done_without_where_it_cannot_be_issued(pki, monkeypatch):
    serve(pki, NAS)

    def refuse(*_arguments):
        raise MtlsError("nas.lan is outside the name constraints of CN=CA")

    monkeypatch.setattr(servers.name_constraints, "check", refuse)
    other = replace(NAS, name="other")
    with pytest.raises(MtlsError, match="name constraints"):
        serve(pki, other)
    kept, without = serve(pki, NAS, replace(other, stands_in=True))
    assert (kept.action, without.action, without.entry) == ("unchanged", "unchanged", None)
    assert without.because == "is done without: nas.lan is outside the name constraints of CN=CA"
    monkeypatch.undo()
    assert serve(pki, replace(other, stands_in=True))[0].action == "issued"
