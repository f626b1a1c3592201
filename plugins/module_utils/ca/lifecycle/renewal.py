# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA certificate renewed with the same key: what it signed stays valid, and so does its CRL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, numbers, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import ca_key
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore.ca_key import check_belongs
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

_EARLY = timedelta(days=455)  # what is issued for a year must expire before the CA: there is a quarter to act in
_AT_ONCE = 500  # certificates that one process reads


def is_due(certificate: x509.Certificate, renew_before: int) -> bool:
    """Tell whether a CA certificate expires within ``renew_before`` days; with 0 it is never due."""
    end = times.in_days(times.now(), renew_before, "renew_before")
    return renew_before > 0 and certificate.not_valid_after_utc <= end


def ends_early(certificate: x509.Certificate) -> bool:
    """Tell whether it is time to warn that a CA certificate expires: in its last quarter, 455 days before at most."""
    end = certificate.not_valid_after_utc
    return end - times.now() < min(_EARLY, (end - certificate.not_valid_before_utc) / 4)


def repaired(place: layout.Layout, ca: ca_key.CaKey) -> x509.Certificate:
    """Return the CA certificate reissued with extensions that nginx can work with; nothing is written.

    :raises MtlsError: the key is another one's.
    """
    current = read_certificates(place.certificate)[0]
    key = ca.load()
    check_belongs(key, current, place.key, place.certificate)
    return profiles.repaired_ca_certificate(key, current)


def by_itself(place: layout.Layout, ca: ca_key.CaKey, days: int, current: x509.Certificate) -> x509.Certificate:
    """Return the self-signed certificate that is to follow ``current``; nothing is written.

    A client's certificate may name its issuer by its serial (RFC 5280, 4.2.1.1; easy-rsa's do). OpenSSL takes no CA
    certificate with another serial for it then, so the serial stays the same for such an authority.

    :raises MtlsError: the CA cannot be renewed with its own key.
    """
    key = ca.load()
    check_belongs(key, current, place.key, place.certificate)
    serial = current.serial_number if _is_named_by_serial(place, current) else numbers.random_serial()
    renewed = profiles.renewed_ca_certificate(key, current, serial, profiles.ca_validity(days, times.now()))
    profiles.check_ca(renewed, place.certificate, times.now())
    return renewed


def check_may_follow(place: layout.Layout, ca: ca_key.CaKey) -> None:
    """Check that a certificate which the CA above signs for the same key can take the place of this one.

    :raises MtlsError: the key is not at hand, or certificates in use name their issuer by what would be another.
    """
    current = read_certificates(place.certificate)[0]
    key = ca.load()
    check_belongs(key, current, place.key, place.certificate)
    usual = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    if profiles.subject_key_identifier(current) not in (None, usual) or _is_named_by_serial(place, current):
        raise MtlsError(
            f"{place.certificate}: certificates that are in use name it by its serial or by a key identifier that its "
            "parent would not repeat; begin a rollover instead (playbook mtls.nginx.rollover)"
        )


def carry_out(place: layout.Layout, renewed: x509.Certificate, did: str = audit.CA_RENEWED) -> None:
    """Keep the old certificate as ``ca-<SERIAL>.crt`` and put the new one in its place."""
    with open(place.certificate, "rb") as stream:
        old = stream.read()
    current, *above = read_certificates(place.certificate)
    files.write_file(_kept(place, current, old), old, 0o644)
    pem = chains.pem((renewed, *above))
    with audit.AuditLog(place.path).noting([certificate_event(did, renewed)]):
        files.write_file(place.certificate, pem, 0o644)


def _kept(place: layout.Layout, current: x509.Certificate, old: bytes) -> str:
    path = place.file(f"ca-{numbers.hexadecimal(current.serial_number)}.crt")
    return path if files.read_if_there(path) in (None, old) else f"{path[:-4]}-{current.not_valid_after_utc:%Y%m%d}.crt"


def _is_named_by_serial(place: layout.Layout, ca: x509.Certificate) -> bool:
    """Tell whether the serial of the CA is in the authorityKeyIdentifier of a live certificate."""
    paths = [place.issued_certificate(serial) for serial, _subject in Index.load(place.index).live(times.now())]
    parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    return any(spread(lambda part: any(_names(path, ca.serial_number) for path in _existing(part)), parts))


def _existing(paths: Sequence[str]) -> Iterable[str]:
    return (path for path in paths if os.path.exists(path))


def _names(path: str, serial: int) -> bool:
    certificate = read_certificates(path)[0]
    try:
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return False
    except profiles.UNREADABLE:  # one that `cryptography` cannot read, which was taken over: it may
        return True
    return named.authority_cert_serial_number == serial
