# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities for the tests of the controller's half."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12
from ansible_collections.mtls.nginx.plugins.module_utils.common import parallel
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, Pki

ROUNDS = p12._ROUNDS


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """The tests and all that they import stay to the end. Nothing need search them for garbage, here or in a fork."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="module", autouse=True)  # and not for the session, which may have other tests after these
def everyday() -> Iterator[None]:
    """What would only take time: the CAs of this machine, passwords that are slow to guess, processes for a handful."""
    with pytest.MonkeyPatch.context() as patch:
        # `openssl x509` reads all that the system trusts, which takes longer than anything else it does.
        patch.setenv("SSL_CERT_FILE", os.devnull)
        # Most of the work for a .p12 is there to make guessing slow.
        patch.setattr(p12, "_ROUNDS", 1)
        # To fork pytest, with all that it has imported, takes longer than to issue some certificates.
        patch.setattr(parallel, "cores", lambda: 1)
        yield


@pytest.fixture
def two_cores(monkeypatch) -> None:
    """Bulks are done in two processes, however many this machine runs at once."""
    monkeypatch.setattr(parallel, "cores", lambda: 2)


@pytest.fixture
def slow_p12(monkeypatch) -> None:
    """Files as real runs make them."""
    monkeypatch.setattr(p12, "_ROUNDS", ROUNDS)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """An authority nobody has used; tests get copies."""
    path = tmp_path_factory.mktemp("pristine") / "pki"
    new_authority(path, SUBJECT)
    return path


@pytest.fixture
def pki(pristine, tmp_path) -> Pki:
    """An authority with a P-256 key in clear."""
    return Pki.copy_of(pristine, tmp_path / "pki")
