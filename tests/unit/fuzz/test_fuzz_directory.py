# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory with a broken or hostile file in it: runs succeed or say which file it is, and nothing gets lost."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import published, register
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.fuzz.hostile import VALUES, damaged, damaged_pem, message_of
from ansible_collections.mtls.nginx.tests.unit.support import Pki, tree

CLIENTS = (Client("a"), Client("b", revoked=True, reason="keyCompromise"), Client("c", subject={"O": "é", "CN": "c"}))
SERVER = servers.Server("h", "s", ("h.lan",))
PEMS = ["ca.crt", "ca.key", "crl.pem", "clients/a/a.crt", "clients/a/a.key", "servers/h/s.crt", "servers/h/s.key"]
OTHERS = [
    "index.txt",
    "index.txt.attr",
    "serial",
    "crlnumber",
    "openssl.cnf",
    "clients/register.json",
    "servers/register.json",
    "clients/a/a.p12",
    "clients/a/a.p12.password",
]


def serve(path: Path) -> None:
    with open_authority(Access(str(path)), read_only=False) as authority:
        clients.reconcile(authority, CLIENTS, new_key_type="ecdsa", check=False)


def serve_servers(path: Path) -> None:
    with open_authority(Access(str(path)), read_only=False) as authority:
        servers.reconcile(authority, [SERVER], new_key_type="ecdsa", check=False)


def refresh_crl(path: Path) -> None:
    with open_authority(Access(str(path)), read_only=False) as authority:
        authority.crl_state()
        if authority.crl_due(7):
            authority.write_crl(30)


def adopt(path: Path) -> None:
    creation.ensure(WantedAuthority(str(path), None, keys.KeyKind("ecdsa"), None, 3650, 30), check=False)


def foresee(path: Path) -> None:
    creation.ensure(WantedAuthority(str(path), None, keys.KeyKind("ecdsa"), None, 3650, 30), check=True)


def publish(path: Path) -> None:
    published.read_crl(str(path))
    list(register.Register.load(str(path)).items())
    list(register.Register.load(str(path), register.SERVERS).items())


WORKS: list[Callable[[Path], None]] = [foresee, publish, refresh_crl, serve, serve_servers, adopt]


@pytest.fixture(scope="session")
def used(pristine, tmp_path_factory) -> Path:
    """An authority with two clients, a revoked one, and a server."""
    path = tmp_path_factory.mktemp("used") / "pki"
    shutil.copytree(pristine, path)
    Pki(path).serve(*(Client(client.name, subject=client.subject) for client in CLIENTS))
    for work in (serve, serve_servers, refresh_crl):
        work(path)
    return path


def survive(used: Path, name: str, content: bytes, works: list[Callable[[Path], None]]) -> None:
    """Run everything with ``content`` in the file ``name``; when that is put right, everything works again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pki"
        shutil.copytree(used, path)
        (path / name).write_bytes(content)
        secrets = {file: file.read_bytes() for file in path.rglob("*.key")}
        began = time.monotonic()
        for work in works:
            before = tree(path)
            said = message_of(lambda work=work: work(path))
            if said is not None:
                assert Path(name).name in said, said
                after = tree(path)
                changed = {file for file in after if before.get(file) != after[file]}
                # What lay in newcerts was entered before the line that is refused came to be read.
                grown = name == "index.txt" and (path / name).read_bytes().startswith(content)
                assert str(path / name) not in changed or grown, "a file that is refused was changed"
                assert not [file for file in changed if file.endswith(".new")]
        assert time.monotonic() - began < 10
        kept = {file.read_bytes() for file in path.rglob("*.key")}
        assert set(secrets.values()) <= kept, "a key is gone"
        for file in used.glob("newcerts/*"):
            assert (path / "newcerts" / file.name).read_bytes() == file.read_bytes()


@given(st.data())
def test_damaged_files(used, data):
    name = data.draw(st.sampled_from(OTHERS + PEMS))
    good = (used / name).read_bytes()
    content = data.draw(
        st.one_of(damaged_pem(good) if name in PEMS else damaged(good), st.binary(max_size=60), st.just(b""))
    )
    survive(used, name, content, data.draw(st.permutations(WORKS)))


DATES = st.one_of(
    st.sampled_from(["301231235959Z", "20601231235959Z", "991331235959Z", "00000101000000Z", "260230000000Z", ""]),
    st.from_regex(r"[0-9]{12}Z|[0-9]{14}Z", fullmatch=True),
)
SERIALS = st.one_of(st.from_regex(r"([0-9A-F]{2}){1,34}", fullmatch=True), st.sampled_from(["00", "0001", "1", "zz"]))
NAMES = st.one_of(
    st.sampled_from(["/CN=a", "/CN=A", "/O=\\xC3\\xA9/CN=c", "", "/", "/CN=x/CN=y", "/CN=日", "/=", "/1.2.3=x", "/CN"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20).map(lambda text: f"/CN={text}"),
)
REVOCATIONS = st.one_of(
    st.just(""),
    DATES,
    st.tuples(DATES, st.sampled_from(["keyCompromise", "keyTime,x", "nonsense", "", ",", "unspecified"])).map(",".join),
)
LINES = st.tuples(
    st.sampled_from("VVVRRREX"), DATES, REVOCATIONS, SERIALS, st.sampled_from(["unknown", ""]), NAMES
).map("\t".join)


@given(st.lists(LINES, max_size=4), st.booleans())
def test_lines_in_the_index_that_openssl_would_not_write(used, lines, beside):
    good = (used / "index.txt").read_text() if beside else ""
    content = good + "".join(f"{line}\n" for line in lines)
    survive(used, "index.txt", content.encode(), WORKS)


EDGES = [0, 1, 127, 128, (1 << 64) - 1, (1 << 159) - 1, 1 << 159, 1 << 160]


@given(st.one_of(st.integers(0, 1 << 168), st.sampled_from(EDGES)))
def test_serials_and_crl_numbers(used, number):
    for name in ("serial", "crlnumber"):
        survive(used, name, f"{number:X}\n".encode(), [serve_more, refresh_hard, refresh_hard])


def serve_more(path: Path) -> None:
    Pki(path).serve(*CLIENTS, Client("another"))
    for serial in Index.load(str(path / "index.txt")):
        certificate = x509.load_pem_x509_certificate((path / f"newcerts/{serial}.pem").read_bytes())
        assert 0 < certificate.serial_number < 1 << 159


def refresh_hard(path: Path) -> None:
    with open_authority(Access(str(path)), read_only=False) as authority:
        before = authority.crl_state()
        assert authority.write_crl(30).number > before.number


@given(st.data())
def test_registers_of_another_shape(used, data):
    content = json.loads((used / "clients/register.json").read_text())
    where = data.draw(st.sampled_from(["content", "salt", "entries", "entry", "field", "stamp"]))
    value = data.draw(st.one_of(VALUES.filter(is_json), st.sampled_from([{}, [], [1, 2, "x"], "a" * 32])))
    entry = content["entries"]["a"]
    if where == "content":
        content = value
    elif where in ("salt", "entries"):
        content[where] = value
    elif where == "entry":
        content["entries"]["a"] = value
    elif where == "field":
        entry[data.draw(st.sampled_from(sorted(entry)))] = value
    else:
        entry["files"][data.draw(st.sampled_from(sorted(entry["files"])))] = value
    survive(used, "clients/register.json", json.dumps(content).encode(), [publish, serve])


def is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "unit", [b"-----BEGIN A-----", b"-----BEGIN X509 CRL-----\n", b"-", b"-----BEGIN A-----\n-----END"]
)
def test_a_large_crl_file_of_nonsense_is_refused_at_once(unit):
    began = time.monotonic()
    with pytest.raises(MtlsError, match=r"^crl\.pem: "):
        crls.parse_crls(unit * (2_000_000 // len(unit)), "crl.pem")
    assert time.monotonic() - began < 2


def test_a_register_nested_too_deep_is_made_again(used):
    survive(used, "clients/register.json", b"[" * 200_000, [publish, serve])


@pytest.mark.parametrize("name", [*OTHERS, *PEMS])
def test_a_directory_where_a_file_should_be(used, tmp_path, name):
    shutil.copytree(used, tmp_path / "pki")
    (tmp_path / "pki" / name).unlink()
    (tmp_path / "pki" / name).mkdir()
    for work in WORKS:
        said = message_of(lambda work=work: work(tmp_path / "pki"))
        assert said is None or Path(name).name in said


def test_an_authority_is_used_before_and_after(used):
    """The starting point of all of this is sound."""
    for work in WORKS:
        assert message_of(lambda work=work: work(used)) is None
