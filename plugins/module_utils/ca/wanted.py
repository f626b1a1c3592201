# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an authority should be like, and what came of making it so: the words of all backends."""

from __future__ import annotations

import functools
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Callable

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import ca_key
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class WantedAuthority:
    """The authority that should exist; ``subject`` may be None when it does already.

    Its private key is in ca.key unless ``key_at`` says otherwise. Its certificate is signed by itself, by ``parent``,
    or elsewhere: then it comes back, with those above it, in the file ``certificate``.

    ``old_passphrase`` and ``decrypt`` are those of protection.py. A CA certificate that expires within ``renew_before``
    days is renewed for ``days``; with 0 it never is. With ``repair``, one that nginx cannot work with is reissued.
    """

    path: str
    subject: subjects.Subject | None
    key: keys.KeyKind
    passphrase: str | None
    days: int
    crl_days: int
    old_passphrase: str | None = None
    decrypt: bool = False
    renew_before: int = 0
    key_at: ca_key.CaKey | None = None
    parent: Parent | None = None
    certificate: str | None = None
    repair: bool = False


@dataclass
class Ensured:
    """What was done, or in check mode would be.

    ``added`` names the files, and a key that is in none; ``updated`` tells what became of others.
    ``certificate`` is None when it would have been made. ``pending`` says what somebody has to do before there is one.
    """

    created: bool
    certificate: x509.Certificate | None
    key_encrypted: bool
    added: list[str] = field(default_factory=list)
    updated: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    pending: str | None = None


@dataclass(frozen=True)
class Parent:
    """The authority in the directory ``path``; ``open`` is given ``read_only``."""

    path: str
    open: Callable[[bool], AbstractContextManager[Authority]]

    @functools.cached_property
    def chain(self) -> tuple[x509.Certificate, ...] | None:
        """Its certificates, up to the root; None when it is not there: it may be in a safe."""
        path = layout.Layout(self.path).certificate
        return read_certificates(path) if os.path.exists(path) else None
