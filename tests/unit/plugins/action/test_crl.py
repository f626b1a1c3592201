# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module says of a CRL that is long or missing, and whether check mode foresees it."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.unit.actions import Controller
from ansible_collections.mtls.nginx.tests.unit.support import tree


@pytest.fixture
def run(tmp_path, pki):
    controller = Controller(tmp_path / "site", {"nas": {}})
    return lambda **options: controller.run("crl", ca_path=str(pki.path), **options)


@pytest.fixture
def serials(pki) -> dict[str, str]:
    """Of three clients, by name; two of them are on hold."""
    names = ("phone", "lost", "lent")
    pki.serve(*(Client(name, p12="none") for name in names))
    found = {row[5].removeprefix("/CN="): row[3] for row in pki.index()}
    with pki.open() as authority:
        authority.revoke({found[name]: "certificateHold" for name in names[1:]})
        authority.write_crl(30)
    return found


@pytest.mark.parametrize(
    ("asked", "entries"),
    [
        ({"name": "phone"}, 3),
        ({"name": "lost", "state": "released"}, 1),
        ({"name": "lost", "reason": "certificateHold"}, 2),  # as it is
    ],
)
def test_check_mode_foresees_how_long_the_crl_becomes(run, serials, monkeypatch, asked, entries):
    monkeypatch.setattr(crls, "MANY", entries)
    foreseen, done = (run(check=check, revoked=[asked], max_entries=entries + 1) for check in (True, False))
    assert not foreseen.get("failed"), foreseen
    assert done["crl"]["entries"] == entries
    (warning,) = done["warnings"]
    assert f"crl.pem: lists {entries} certificates, so each full handshake" in warning
    assert foreseen["warnings"] == done["warnings"]


def test_check_mode_where_there_is_no_crl_yet(run, pki):
    (pki.path / "crl.pem").unlink()
    before = tree(pki.path)
    foreseen = run(check=True)
    assert (foreseen["changed"], foreseen["crl"], foreseen["diff"]["before"]) == (True, None, "no CRL\n")
    assert tree(pki.path) == before
    done = run()
    assert (done["changed"], done["crl"]["entries"], done["diff"]) == (True, 0, foreseen["diff"])
