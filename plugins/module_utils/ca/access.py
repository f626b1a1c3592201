# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which implementation serves which authority: the only file that knows all of them.

Each is imported where it is needed: Ansible compiles anew what a module imports, each time it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority, Published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import DIRECTORY, OPENBAO, PKCS11, TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout, permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, Parent, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

if TYPE_CHECKING:
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import DirectoryAuthority
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore.pkcs11 import TokenKey


@dataclass(frozen=True)
class Access:
    """Which authority is meant, and what opens it; ``settings`` are the options of its backend.

    ``path`` is the directory on the controller. Whoever keeps the key: certificate, CRL, record and the holders'
    files are there.
    """

    path: str
    passphrase: str | None = None
    backend: str = DIRECTORY
    settings: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], prefix: str = "ca_") -> Access:
        """Return what a module's options say.

        :raises MtlsError: the options of the chosen backend are missing.
        """
        backend = options[f"{prefix}backend"]
        settings = options[f"{prefix}{backend}"] if backend != DIRECTORY else None
        if backend != DIRECTORY and settings is None:
            raise MtlsError(
                f"{options[f'{prefix}path']}: the backend is {backend}; say where it is in mtls_ca_{backend}"
            )
        return cls(options[f"{prefix}path"], options[f"{prefix}passphrase"] or None, backend, settings)


def ensure_authority(access: Access, wanted: WantedAuthority, *, check: bool, parent: Access | None = None) -> Ensured:
    """Make the authority exist and be complete, signed by ``parent``; with ``check`` only say what is missing.

    :raises MtlsError: what is there is another authority, is damaged, or must not be used.
    """
    if parent or wanted.certificate:
        require_directory(access, "an authority above it")
    if wanted.repair:
        require_directory(access, "the repair of its certificate")
    if access.backend == TRUST:
        from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust

        return trust.ensure(access.path, _source(access), check=check)
    if access.backend == OPENBAO:
        from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao import mirror

        return mirror.ensure(wanted, access.settings or {}, check=check)
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation

    if parent is not None:
        above = Parent(parent.path, lambda read_only: open_authority(parent, read_only=read_only))
        wanted = replace(wanted, parent=above)
    return creation.ensure(replace(wanted, key_at=_token_key(access)), check=check)


def open_authority(access: Access, *, read_only: bool) -> AbstractContextManager[Authority]:
    """Open an authority; ``read_only`` is check mode's, and takes no lock.

    :raises MtlsError: it cannot be used; the text says why.
    """
    if access.backend == TRUST:
        from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust

        return trust.open_trusted(access.path, _source(access), read_only=read_only)
    if access.backend == OPENBAO:
        from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao import mirror

        return mirror.open_openbao(access.path, access.settings or {}, read_only=read_only)
    return open_directory(access.path, access.passphrase, read_only=read_only, key=_token_key(access))


def open_kept_here(access: Access, what: str, *, read_only: bool) -> AbstractContextManager[DirectoryAuthority]:
    """Open an authority that keeps its own record in the directory, as ``open_authority`` does.

    :arg what: why it has to be one, for the message.
    :raises MtlsError: its record is elsewhere, or it cannot be used.
    """
    require_directory(access, what)
    return open_directory(access.path, access.passphrase, read_only=read_only, key=_token_key(access))


def read_authority(path: str, *, alone: bool = False) -> Published:
    """Return what the authority whose directory is ``path`` has published.

    :arg alone: without that of the authority which is to follow it.
    :raises MtlsError: anybody may have changed it.
    """
    permissions.check(path)  # what others may read is said by those who work in it
    if not layout.Layout(path).is_trusted():
        return read_published(path, alone=alone)
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust

    return trust.PublishedTrust(path)


def _source(access: Access) -> trust.Source:
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust

    settings = access.settings or {}
    return trust.Source(settings["certificates"], tuple(settings["crl"]))


def require_directory(access: Access, what: str) -> None:
    """Raise MtlsError when ``what`` is asked of an authority that does not keep its own record here."""
    if access.backend not in (DIRECTORY, PKCS11):
        raise MtlsError(f"{access.path}: {what} is for the backends directory and pkcs11, not {access.backend}")


def _token_key(access: Access) -> TokenKey | None:
    if access.backend != PKCS11:
        return None
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore.pkcs11 import TokenKey

    return TokenKey(access.settings or {})
