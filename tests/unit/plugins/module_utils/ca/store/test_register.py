# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of holders: believed only as it was written, and never over the file itself."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import CLIENTS, SERVERS, Register, Stamp
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


@pytest.fixture
def served(pki):
    pki.serve(Client("a"), Client("b"))
    return pki


def register_of(pki, kind=CLIENTS) -> Register:
    return Register.load(str(pki.path), kind)


def test_it_remembers_what_the_files_say(served):
    register = register_of(served)

    assert list(register) == ["a", "b"]
    assert len(register) == 2
    assert register["a"].dn == "CN=a"
    assert register["a"] == register.remembered("a")
    assert register.owners() == {register["a"].serial: "a", register["b"].serial: "b"}


def test_a_certificate_that_changed_since_is_read_again(served):
    before = register_of(served)["a"]
    served.file("a", ".crt").write_bytes(served.file("b", ".crt").read_bytes())
    register = register_of(served)

    assert register["a"].dn == "CN=b"
    assert register.remembered("a") == before


def test_a_certificate_that_is_gone_is_nobodys(served):
    served.file("a", ".crt").unlink()

    assert list(register_of(served)) == ["b"]
    with pytest.raises(KeyError):
        register_of(served)["a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("CN=a", "CN=z", 1),
        lambda text: text[:-1],
        lambda text: text + " ",
        lambda text: "",
        lambda text: "{}",
        lambda text: "not json",
    ],
)
def test_a_register_that_is_not_as_it_was_written_is_not_believed(served, damage):
    path = served.path / "clients" / "register.json"
    path.write_text(damage(path.read_text()))
    register = register_of(served)

    assert register.remembered("a") is None
    assert register["a"].dn == "CN=a"


def test_one_of_another_authority_is_not_believed(served, pki, tmp_path):
    path = served.path / "clients" / "register.json"
    content = json.loads(path.read_text())
    assert content["authority"]
    (served.path / "ca.crt").write_bytes((served.path / "ca.crt").read_bytes() * 2)

    assert register_of(served).remembered("a") is None


def test_nothing_is_written_where_nothing_changed(served):
    path = served.path / "clients" / "register.json"
    before = path.stat()
    register = register_of(served)
    register.remember("a", register["a"])
    register.save()
    after = path.stat()

    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert before.st_mode & 0o777 == 0o600


def test_definitions_are_compared_without_being_kept(served):
    """A password is part of what the inventory says of a client."""
    register, again = register_of(served), register_of(served)

    assert register.digest(["secret"]) == again.digest(["secret"]) != again.digest(["other"])
    assert "secret" not in register.digest(["secret"])


def test_servers_by_host_and_service(pki):
    folder = pki.path / "servers" / "nas"
    folder.mkdir(parents=True)
    pki.serve(Client("a"))
    (folder / "files.crt").write_bytes(pki.file("a", ".crt").read_bytes())
    (pki.path / "servers" / "stray").touch()

    assert list(register_of(pki, SERVERS)) == ["nas/files"]


def test_a_stamp_fits_the_file_as_it_was_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    stamp = Stamp.of(str(path))
    assert stamp.fits(path.stat())
    path.write_text("contenT")
    assert not stamp.fits(path.stat())
    assert not stamp.fits(None)


def test_without_an_authority(tmp_path):
    with pytest.raises(MtlsError, match=r"there is no authority \(ca\.crt is missing\).*mtls\.nginx\.ca_init"):
        Register.load(str(tmp_path))
