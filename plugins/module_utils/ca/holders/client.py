# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client as the inventory wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12, readers
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, check_no_collision

if TYPE_CHECKING:
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import Subject


PEM = "pem"  # what `formats` may name: certificate and key in one file


class Client(NamedTuple):
    """What the inventory says of one client; None stands for what it leaves open."""

    name: str
    subject: Subject | None = None
    key_type: str | None = None
    csr: str | None = None
    days: int = 365
    renew_before: int = 30
    p12: str = p12.COMPATIBLE
    p12_password: str | None = None
    mobileconfig: bool = False
    formats: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    keep_key: bool = True
    revoked: bool = False
    reason: str = "unspecified"

    @property
    def owner(self) -> str:
        """How errors name it."""
        return f"client {self.name!r}"

    @property
    def has_p12(self) -> bool:
        """Whether it gets a .p12, if its key is here."""
        return self.p12 != p12.NONE and self.csr is None

    @property
    def has_profile(self) -> bool:
        """Whether it gets a .mobileconfig, if it has a .p12."""
        return self.mobileconfig and self.has_p12

    @property
    def has_pem(self) -> bool:
        """Whether it gets a .pem with certificate and key."""
        return PEM in self.formats

    @property
    def keeps_key_file(self) -> bool:
        """Whether its key stays in a file of its own. What is not in a .p12 has to."""
        return self.keep_key or not self.has_p12


def check_clients(clients: Sequence[Client]) -> None:
    """Raise MtlsError for names or passwords that cannot be, and for names that are there twice."""
    seen = set()
    for client in clients:
        check_client_name(client.name)
        if client.name in seen:
            raise MtlsError(f"{client.owner}: is in the list twice; remove one")
        seen.add(client.name)
        if client.p12_password is not None and client.has_p12 and not client.revoked:
            p12.check_password(client.p12_password, client.owner)
        if client.has_pem and not client.revoked:
            _check_pem(client)
        if client.used_by and not client.revoked:
            _check_readers(client)
        if client.days < 1:
            raise MtlsError(f"{client.owner}: days is {client.days}; use 1 or more")
        if client.renew_before < 0:
            raise MtlsError(f"{client.owner}: renew_before is {client.renew_before}; use 0 or more")
    check_no_collision(seen)


def _check_readers(client: Client) -> None:
    if client.key_type is not None:
        said = f"key_type is {client.key_type}"
        readers.check_key(client.owner, client.used_by, client.key_type, said, "set key_type: rsa")
    if client.csr is None:
        readers.check_p12(client.owner, client.used_by, client.p12)


def _check_pem(client: Client) -> None:
    if client.csr is not None:
        raise MtlsError(
            f"{client.owner}: formats asks for a .pem with its key, which never left its device; remove formats, and"
            " put certificate and key into one file there"
        )
    if not client.keeps_key_file:
        raise MtlsError(
            f"{client.owner}: formats asks for a .pem with its key, which is to be in the .p12 only; remove formats,"
            " set p12: none for it, or mtls_keep_client_keys: true for all"
        )
