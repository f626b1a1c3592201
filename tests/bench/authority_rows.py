# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half: issuing, looking again, the CRL; module by module, without Ansible's own start."""

from __future__ import annotations

import datetime
import pathlib
import secrets
import sys
from collections.abc import Iterator

from measure import HERE, Bench, Cost, Goal, Measured, Row, inside, module, module_arguments, peer, process
from peers import PASSPHRASE, client_name

from ansible_collections.mtls.nginx.tests.tokens import new_token

CURVES = {"issue": (125, 250, 500, 1000, 2000), "again": (1000, 2500, 5000, 10000), "crl": (1, 10, 100, 1000)}
TINY_CURVE = (2, 4)
MOST = 10_000_000  # entries of a CRL, none of the rows has more
SIGN = ("module", "token", "key", "pin")


def authority(folder: pathlib.Path) -> pathlib.Path:
    """A new authority with a P-256 key: the faster it signs, the more whatever else is done shows."""
    module("ca_init", path=str(folder), subject={"CN": "Bench CA"}, key_type="ecdsa", passphrase=PASSPHRASE)
    return folder


def clients(count: int, first: int = 0) -> list[dict[str, str]]:
    return [{"name": client_name(number)} for number in range(first, first + count)]


def options(pki: pathlib.Path, wanted: list[dict[str, str]], key_type: str = "ecdsa") -> dict[str, object]:
    return {"ca_path": str(pki), "ca_passphrase": PASSPHRASE, "key_type": key_type, "clients": wanted}


def issuing(bench: Bench, count: int, key_type: str, other: list[object]) -> Measured:
    template = authority(bench.folder / "template")

    def ours() -> Cost:
        pki = bench.fresh("ours", template)
        return module("client_cert", **options(pki, clients(count), key_type))

    def theirs() -> Cost:
        bench.fresh("theirs")
        return peer(*other)

    return bench.in_turns(ours, theirs)


def issue(bench: Bench, count: int) -> Measured:
    return issuing(bench, count, "ecdsa", ["issue", bench.folder / "template", bench.folder / "theirs", count])


def issue_token(bench: Bench, count: int) -> Measured:
    csr = bench.folder / "device.csr"
    new = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    process([*new, "-keyout", bench.folder / "device.key", "-out", csr])
    wanted = [{**client, "csr": str(csr)} for client in clients(count)]
    with new_token(bench.folder / "token") as token:
        template, settings = bench.folder / "template", token.settings()
        key = {"key_type": "rsa", "key_size": 4096}  # the collection's default
        module(
            "ca_init", path=str(template), subject={"CN": "Bench CA"}, ca_backend="pkcs11", ca_pkcs11=settings, **key
        )

        def ours() -> Cost:
            pki = bench.fresh("ours", template)
            return module("client_cert", ca_path=str(pki), ca_backend="pkcs11", ca_pkcs11=settings, clients=wanted)

        return bench.in_turns(ours, lambda: peer("sign", *(settings[name] for name in SIGN), count))


def issue_rsa(bench: Bench, count: int) -> Measured:
    return issuing(bench, count, "rsa", ["keys", count])


def again(bench: Bench, count: int) -> Measured:
    pki = authority(bench.folder / "pki")
    wanted = options(pki, clients(count))
    module("client_cert", **wanted)
    given = module_arguments(wanted)
    measured = bench.in_turns(
        lambda: inside(process([sys.executable, HERE / "inside.py", "client_cert"], given=given)),
        lambda: inside(peer("look", pki, count)),
    )
    whole = bench.in_turns(lambda: module("client_cert", **wanted), lambda: peer("look", pki, count))
    measured.details = {"whole process": whole.ours, "whole process of the peer": whole.peer}
    measured.peak = max(measured.peak, whole.peak)
    return measured


def revoked_index(pki: pathlib.Path, count: int) -> None:
    for _serial in fill_index(pki, count, "R\t{end}\t{now},keyCompromise\t{serial}\tunknown\t/CN=former-{number}"):
        pass


def live_index(pki: pathlib.Path, count: int) -> None:
    for serial in fill_index(pki, count, "V\t{end}\t\t{serial}\tunknown\t/CN=other-{number}"):
        (pki / "newcerts" / f"{serial}.pem").touch()


def fill_index(pki: pathlib.Path, count: int, line: str) -> Iterator[str]:
    """Write an index line by line, and yield the serials: the memory of a process counts from that of its parent."""
    now = datetime.datetime.now(datetime.UTC)
    times = {"now": f"{now:%y%m%d%H%M%SZ}", "end": f"{now + datetime.timedelta(days=300):%y%m%d%H%M%SZ}"}
    with (pki / "index.txt").open("w") as stream:
        for number in range(count):
            serial = f"4{secrets.token_hex(20)[1:]}".upper()
            stream.write(line.format(serial=serial, number=number, **times) + "\n")
            yield serial


def crl(bench: Bench, count: int) -> Measured:
    pki = authority(bench.folder / "pki")
    revoked_index(pki, count)
    openssl = ["openssl", "ca", "-config", "openssl.cnf", "-gencrl", "-passin", f"pass:{PASSPHRASE}", "-out"]

    def ours() -> Cost:
        (pki / "crl.pem").unlink(missing_ok=True)
        bench.fresh("nothing")
        return module("crl", ca_path=str(pki), ca_passphrase=PASSPHRASE, max_entries=MOST)

    def theirs() -> Cost:
        bench.fresh("nothing")
        return process([*openssl, "theirs.pem"], folder=pki)

    return bench.in_turns(ours, theirs)


def one_new(bench: Bench, count: int) -> Measured:
    empty = authority(bench.folder / "empty")
    full = authority(bench.folder / "full")
    live_index(full, count)
    number = iter(range(2 * bench.runs))

    def one(pki: pathlib.Path) -> Cost:
        bench.fresh("nothing")
        return module("client_cert", **options(pki, clients(1, first=next(number))))

    return bench.in_turns(lambda: one(full), lambda: one(empty))


def to_adopt(bench: Bench, count: int) -> pathlib.Path:
    """The record, the CA and its certificates; one key for all clients, because nobody looks at it."""
    source = bench.folder / "source"
    (source / "newcerts").mkdir(parents=True)
    process([sys.executable, HERE / "peers.py", "make", source, count])
    return source


def adopt(bench: Bench, count: int) -> Measured:
    source = to_adopt(bench, count)
    return bench.in_turns(
        lambda: module("ca_adopt", path=str(bench.fresh("ours") / "pki"), source=[str(source)]),
        lambda: peer("read", source),
    )


def adopt_alike(bench: Bench, count: int) -> Measured:
    source = to_adopt(bench, count)
    return bench.in_turns(
        lambda: module("ca_adopt", path=str(bench.fresh("ours") / "pki"), source=[str(source)]),
        lambda: peer("copy", source, bench.fresh("theirs") / "pki"),
    )


def issue_curve(bench: Bench, _n: int) -> Measured:
    measured = Measured()
    template = authority(bench.folder / "template")
    for count in TINY_CURVE if bench.tiny else CURVES["issue"]:
        cost = module("client_cert", **options(bench.fresh("ours", template), clients(count)))
        measured.curve.append((count, cost.seconds, cost.peak))
    return measured


def again_curve(bench: Bench, _n: int) -> Measured:
    measured = Measured()
    pki = authority(bench.folder / "pki")
    for count in TINY_CURVE if bench.tiny else CURVES["again"]:
        wanted = options(pki, clients(count))
        module("client_cert", **wanted)
        cost = min((module("client_cert", **wanted) for _run in range(bench.runs)), key=lambda cost: cost.seconds)
        measured.curve.append((count, cost.seconds, cost.peak))
    return measured


def crl_curve(bench: Bench, _n: int) -> Measured:
    measured = Measured()
    pki = authority(bench.folder / "pki")
    peaks = []
    for thousands in TINY_CURVE if bench.tiny else CURVES["crl"]:
        revoked_index(pki, count := thousands * (1 if bench.tiny else 1000))
        cost = module("crl", ca_path=str(pki), ca_passphrase=PASSPHRASE, max_entries=MOST)
        measured.curve.append((count, cost.seconds, (pki / "crl.pem").stat().st_size))
        peaks.append(float(cost.peak))
    measured.peak = int(max(peaks))
    return measured


ROWS = [
    Row(
        "issue-1000",
        "issue {n} P-256 clients: key, certificate, .p12, synced files (module)",
        "a bare script with `cryptography` on all cores",
        1000,
        4,
        issue,
        Goal(at_most=1.15),
    ),
    Row(
        "issue-rsa-200",
        "issue {n} RSA-2048 clients (module)",
        "making {n} RSA keys on all cores",
        200,
        4,
        issue_rsa,
        Goal(at_most=1.15),
    ),
    Row(
        "issue-token-1000",
        "issue {n} clients with a CSR by an RSA-4096 key in a token of SoftHSM (module)",
        "{n} signatures by the same key, and nothing else",
        1000,
        4,
        issue_token,
        Goal(at_most=1.5),
    ),
    Row(
        "again-10000",
        "look again at {n} clients, nothing to do (module's work)",
        "read index.txt, `stat` every file",
        10000,
        4,
        again,
        Goal(at_most=2.5),
    ),
    Row(
        "crl-100000",
        "CRL with {n} revoked (module)",
        "`openssl ca -gencrl` on the same directory",
        100_000,
        10,
        crl,
        Goal(at_most=0.8),
    ),
    Row(
        "one-new-100000",
        "one new client beside {n} valid certificates (module)",
        "the same with an empty index",
        100_000,
        10,
        one_new,
        Goal(at_most=2),
    ),
    Row(
        "adopt-10000",
        "adopt {n} certificates with their record (module)",
        "a bare script that reads and parses the same files, in one process",
        10000,
        4,
        adopt,
        Goal(at_most=2),
    ),
    Row(
        "adopt-alike-10000",
        "the same",
        "a bare script that verifies each signature and writes the same files too, in one process",
        10000,
        4,
        adopt_alike,
        Goal(at_most=2),
    ),
    Row("growth-issue", "issuing, seconds against n", "", 0, 0, issue_curve),
    Row("growth-again", "looking again, seconds against n", "", 0, 0, again_curve),
    Row("growth-crl", "the CRL, bytes and seconds against n", "", 0, 0, crl_curve),
]
