# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authority serves whom while one follows another."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.rollover_plan import Move, with_next
from ansible_collections.mtls.nginx.tests.authorities import new_authority

CLIENTS = [{"name": "phone"}, {"name": "tablet"}, {"name": "tv"}, {"name": "lost", "state": "revoked"}]


@pytest.fixture
def begun(pki):
    """An authority that is to be followed, and one client that has moved."""
    following = handover.next_path(str(pki.path))
    new_authority(following, {"CN": "Next CA"})
    (pki.path / "next" / "clients" / "phone").mkdir()
    return str(pki.path)


def plans(path):
    return {path: AuthorityPlan(path, {"subject": {"CN": "Test CA"}, "days": 10}, "web", clients=list(CLIENTS))}


def names(plan):
    return [client["name"] for client in plan.clients]


def test_without_a_rollover_nothing_is_added(pki):
    given = plans(str(pki.path))
    assert with_next(given) == given


def test_the_next_authority_serves_who_has_moved(begun):
    found = with_next(plans(begun))
    old, new = found[begun], found[handover.next_path(begun)]
    assert (names(new), new.follows) == (["phone"], True)
    assert new.settings == {"subject": None, "days": 10}
    assert names(old) == [client["name"] for client in CLIENTS]
    assert [client["name"] for client in old.clients if client.get("renew_before") == 0] == ["phone"]


def test_what_is_to_be_revoked_is_asked_of_both(begun):
    """Whoever is in no list of clients any more may have a certificate of either."""
    given = plans(begun)
    given[begun].revoked.append({"name": "former", "reason": "keyCompromise"})
    assert with_next(given)[handover.next_path(begun)].revoked == given[begun].revoked


@pytest.mark.parametrize(
    ("move", "serves"),
    [
        (Move(("tv",)), ["phone", "tv"]),
        (Move(count=1), ["phone", "tablet"]),
        (Move(), ["phone", "tablet", "tv"]),  # all of them, but not who is revoked
    ],
)
def test_more_clients_move(begun, move, serves):
    assert names(with_next(plans(begun), move)[handover.next_path(begun)]) == serves


@pytest.mark.parametrize(
    ("name", "said"),
    [("tabelt", "did you mean 'tablet'"), ("lost", "name clients of the inventory that are not revoked")],
)
def test_who_cannot_move(begun, name, said):
    with pytest.raises(MtlsError, match=f"'{name}' is to move to the next authority, but is not a client; {said}"):
        with_next(plans(begun), Move((name,)))
