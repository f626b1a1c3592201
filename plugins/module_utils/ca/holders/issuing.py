# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates for many holders, clients or servers, in bulk.

A chunk at a time: all cores make the keys, the authority signs and records the chunk, all cores write what the
holders need. While it signs, the keys of the next chunk are made and the files of the last one written: an authority
that is elsewhere need not wait for us. What a killed run has in the air, the next one picks up.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Protocol, TypeVar

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import progress
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import Spread

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class KeyPair:
    """A public key to be certified (SubjectPublicKeyInfo) and, if it is here, the private key (PKCS #8), in DER.

    If it is not, ``csr`` is the holder's request in PEM.
    """

    public: bytes
    private: bytes | None = field(default=None, repr=False)
    csr: bytes | None = None

    @classmethod
    def of(cls, key: keys.PrivateKey) -> KeyPair:
        """Return both halves of a private key."""
        private = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(keys.public_der(key.public_key()), private)

    def private_key(self) -> keys.PrivateKey:
        """Return the private key, which a process of this run made or checked."""
        return keys.load_private_der(self.private or b"")


class Task(Protocol):
    """One certificate to be issued."""

    def order(self, pair: KeyPair) -> Order:
        """Return what is asked of the authority."""


T = TypeVar("T", bound=Task)
R = TypeVar("R")


def issue(
    authority: Authority,
    tasks: Sequence[T],
    prepare: Callable[[T, Batch], KeyPair],
    finish: Callable[[tuple[T, KeyPair, x509.Certificate], Batch], R],
    crl_point: str | None = None,
) -> Iterator[tuple[T, R]]:
    """Yield each task with what ``finish`` made of its certificate.

    ``prepare`` and ``finish`` run in forked processes: what they change in memory is lost, what they return is
    pickled. The files that they put into the batch are in place when the next step begins. ``crl_point`` is where the
    certificates say that their CRL can be fetched.
    """
    if not tasks:
        return
    authority.begin()
    with progress.shown(authority.path, len(tasks)) as count:
        stages = _Stage(authority, prepare, count), _Stage(authority, finish, count)
        yield from _pipeline(authority, tasks, *stages, crl_point)


class _Stage:
    """One step of the way, taken by many at once."""

    def __init__(self, authority: Authority, work: Callable[[Any, Batch], Any], count: Callable[[], None]) -> None:
        self._authority = authority
        self._work = work
        self._count = count

    def begin(self, items: Sequence[Any]) -> Spread[Any, Any]:
        batch = Batch(self._authority.path, len(items))

        def one(item: Any) -> Any:
            result = self._work(item, batch)
            self._count()
            return result

        return Spread(one, items, batch.commit)


def _pipeline(
    authority: Authority, tasks: Sequence[T], prepare: _Stage, finish: _Stage, crl_point: str | None
) -> Iterator[tuple[T, Any]]:
    """Sign a chunk while the keys of the next one are made and the files of the last one are written."""
    chunks = [tasks[start : start + authority.chunk] for start in range(0, len(tasks), authority.chunk)]
    next_pairs: Spread[Any, Any] | None = None
    last: tuple[Sequence[T], Callable[[], list[Any]]] = (), list
    for number, chunk in enumerate(chunks):
        failure: Exception | None = None
        written: list[Any] = []
        try:
            making, next_pairs = next_pairs or prepare.begin(chunk), None
            pairs = making.results()
            if number + 1 < len(chunks):
                next_pairs = prepare.begin(chunks[number + 1])
            certificates = authority.issue(
                [replace(task.order(pair), crl_point=crl_point) for task, pair in zip(chunk, pairs)]
            )
            written = list(zip(chunk, pairs, certificates))
        except Exception as error:
            failure = error
        yield from zip(last[0], last[1]())
        if failure is not None:
            if next_pairs is not None:
                with contextlib.suppress(Exception):  # one failure is enough
                    next_pairs.results()
            raise failure
        last = chunk, finish.begin(written).results
    yield from zip(last[0], last[1]())


def key_pair(path: str, kind: keys.KeyKind, owner: str, batch: Batch) -> KeyPair:
    """Return the key in the file ``path``, which is made when it is missing.

    :raises MtlsError: the file holds no key, an encrypted one, or one that is too weak.
    """
    files.make_directory(os.path.dirname(path), 0o700)
    if os.path.exists(path):
        key = keys.load_key(path)
        keys.check_strength(key.public_key(), f"{owner}: {path}")
    else:
        key = keys.new_key(kind)
        batch.create(path, keys.encoded(key, None, path), 0o600)
    return KeyPair.of(key)
