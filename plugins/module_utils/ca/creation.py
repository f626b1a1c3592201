# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new authority, or a directory made by hand that becomes one: what ``ca_init`` does."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ansible_collections.mtls.nginx.plugins.module_utils import files
from ansible_collections.mtls.nginx.plugins.module_utils.ca import (
    audit,
    keys,
    layout,
    numbers,
    profiles,
    protection,
    renewal,
    subjects,
    times,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.directory import (
    certificate_event,
    check_belongs,
    open_directory,
    read_certificates,
)
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class Wanted:
    """The authority that should exist; ``subject`` may be None when it does already.

    ``old_passphrase`` and ``decrypt`` are those of protection.py. A CA certificate that ends within ``renew_before``
    days is renewed for ``days``; with 0 it never is.
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


@dataclass
class Outcome:
    """What was done, or in check mode would be: ``added`` names the files, ``updated`` tells what became of others.

    ``certificate`` is None when it would have been made.
    """

    created: bool
    certificate: x509.Certificate | None
    key_encrypted: bool
    added: list[str] = field(default_factory=list)
    updated: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def ensure(wanted: Wanted, *, check: bool) -> Outcome:
    """Make the authority exist and be complete; with ``check`` only say what is missing.

    :raises MtlsError: what is there is another authority, is damaged, or must not be used.
    """
    layout.check_path(wanted.path)
    place = layout.Layout(wanted.path)
    if os.path.exists(place.path) and not os.path.isdir(place.path):
        raise MtlsError(f"{place.path}: is a file; name a directory")
    if wanted.renew_before >= wanted.days:
        raise MtlsError(
            f"renew_before: is {wanted.renew_before} and days is {wanted.days}, so every run would renew the CA "
            "certificate; make renew_before less than days"
        )
    outcome = _foresee(wanted, place) if check else _establish(wanted, place)
    if not outcome.key_encrypted:
        outcome.warnings.append(
            f"{place.key}: the authority's key is stored in clear; set mtls_ca_passphrase (the option passphrase), and "
            "it is encrypted"
        )
    return outcome


def _establish(wanted: Wanted, place: layout.Layout) -> Outcome:
    if not os.path.exists(place.certificate):
        _check_creatable(wanted, place)
    files.make_directory(place.path, 0o700)
    with files.lock(place.lock):
        outcome = _compare(wanted, place) if os.path.exists(place.certificate) else _create(wanted, place)
        change = _protection_of(wanted, place, outcome)
        if change is not None:
            with audit.AuditLog(place.path).noting([{"did": audit.KEY, "what": change.what}]):
                protection.replace(place.key, change)
        renewed = _renewal_of(wanted, place, wanted.passphrase, outcome)
        if renewed is not None:
            renewal.carry_out(place, renewed)
        outcome.added += layout.complete(place, wanted.crl_days)
    with open_directory(place.path, wanted.passphrase, read_only=False) as authority:
        if authority.crl_state() is None:
            authority.write_crl(wanted.crl_days)
            outcome.added.append("crl.pem")
        outcome.warnings += authority.warnings
    return outcome


def _foresee(wanted: Wanted, place: layout.Layout) -> Outcome:
    if not os.path.exists(place.certificate):
        _check_creatable(wanted, place)
        added = ["ca.key", "ca.crt", *layout.missing(place), "crl.pem"]
        return Outcome(True, None, bool(wanted.passphrase), added)
    outcome = _compare(wanted, place)
    layout.check_not_lost(place)
    change = _protection_of(wanted, place, outcome)
    passphrase = change.opened_by if change is not None else wanted.passphrase
    renewed = _renewal_of(wanted, place, passphrase, outcome)
    outcome.added += layout.missing(place)
    if renewed is None and set(outcome.added).isdisjoint(layout.ESSENTIAL):
        with open_directory(place.path, passphrase, read_only=True) as authority:
            if authority.crl_state() is None:
                outcome.added.append("crl.pem")
            outcome.warnings += authority.warnings
    elif not os.path.exists(place.crl):
        outcome.added.append("crl.pem")
    return outcome


def _check_creatable(wanted: Wanted, place: layout.Layout) -> x509.Name:
    if wanted.subject is None:
        raise MtlsError(f"{place.path}: there is no authority yet, and no subject to make one of; set subject")
    if os.path.exists(place.index) and os.path.getsize(place.index):
        raise MtlsError(
            f"{place.certificate}: is missing although index.txt lists certificates; restore it from a backup"
        )
    if wanted.key.type == "rsa" and wanted.key.size < keys.SMALLEST_RSA:
        raise MtlsError(f"key_size: {wanted.key.size} bits are too few; use at least {keys.SMALLEST_RSA}")
    if wanted.key.type == "rsa" and wanted.key.size > keys.LARGEST_RSA:
        raise MtlsError(f"key_size: {wanted.key.size} bits are too many; use at most {keys.LARGEST_RSA}")
    if wanted.passphrase:
        keys.check_passphrase(wanted.passphrase, place.key)
    profiles.ca_validity(wanted.days, times.now())
    times.in_days(times.now(), wanted.crl_days, "crl_days")
    return subjects.subject_name(wanted.subject, f"authority {place.path}")


def _create(wanted: Wanted, place: layout.Layout) -> Outcome:
    name = _check_creatable(wanted, place)
    validity = profiles.ca_validity(wanted.days, times.now())
    if os.path.exists(place.key):  # left by a run that was killed; a key is never overwritten
        key = keys.load_key(place.key, wanted.passphrase)
    else:
        key = keys.new_key(wanted.key)
        keys.save_new_key(place.key, key, wanted.passphrase)
    certificate = profiles.ca_certificate(key, name, numbers.random_serial(), validity)
    with audit.AuditLog(place.path).noting([certificate_event(audit.CREATED, certificate)]):
        files.create_file(place.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return Outcome(True, certificate, keys.is_encrypted_file(place.key), ["ca.key", "ca.crt"])


def _compare(wanted: Wanted, place: layout.Layout) -> Outcome:
    certificate = read_certificates(place.certificate)[0]
    if wanted.subject is not None:
        name = subjects.subject_name(wanted.subject, f"authority {place.path}")
        if name != certificate.subject:
            raise MtlsError(
                f"{place.certificate}: is the authority {subjects.nginx_dn(certificate.subject)}, and the subject "
                f"asked for is {subjects.nginx_dn(name)}; correct the subject, or choose another directory"
            )
    if not renewal.is_due(certificate, wanted.renew_before):
        profiles.check_ca(certificate, place.certificate, times.now())
    if not os.path.exists(place.key):
        raise MtlsError(f"{place.key}: is missing, and nothing can be signed without it; restore it from a backup")
    outcome = Outcome(False, certificate, keys.is_encrypted_file(place.key))
    found = keys.key_type(certificate.public_key())
    if found != wanted.key.type:
        outcome.warnings.append(
            f"{place.certificate}: has a key of type {found}, not {wanted.key.type}; it stays, "
            "because with another key it would be another authority"
        )
    return outcome


def _protection_of(wanted: Wanted, place: layout.Layout, outcome: Outcome) -> protection.Change | None:
    """Return what is to be done to the key file, and note it in ``outcome``."""
    change = protection.judge(
        place.key, protection.Protection(wanted.passphrase, wanted.old_passphrase, wanted.decrypt)
    )
    if change is not None:
        check_belongs(keys.load_key(place.key, change.opened_by, validate=False), outcome.certificate, place)
        outcome.updated["ca.key"] = change.what
        outcome.key_encrypted = keys.is_encrypted(change.pem)
    return change


def _renewal_of(
    wanted: Wanted, place: layout.Layout, passphrase: str | None, outcome: Outcome
) -> renewal.Renewal | None:
    """Return the CA certificate that is to follow, if any, and note it in ``outcome``; or warn of the end."""
    end = times.iso(outcome.certificate.not_valid_after_utc)
    if not renewal.is_due(outcome.certificate, wanted.renew_before):
        if renewal.ends_early(outcome.certificate):
            outcome.warnings.append(
                f"{place.certificate}: ends on {end}, and nothing that it signs may end later; renew it with "
                "mtls_ca_renew_before, the number of days before its end (same key: clients keep their certificates)"
            )
        return None
    renewed = renewal.plan(place, passphrase, wanted.days)
    profiles.check_ca(renewed.certificate, place.certificate, times.now())
    if renewed.by_serial:
        outcome.warnings.append(
            f"{place.certificate}: is renewed with the same serial number, because clients' certificates name it"
        )
    outcome.certificate = renewed.certificate
    outcome.updated["ca.crt"] = f"renewed until {times.iso(renewed.certificate.not_valid_after_utc)}, it ended on {end}"
    return renewed
