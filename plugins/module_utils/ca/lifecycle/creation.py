# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new authority, or a directory made by hand that becomes one: what ``ca_init`` does.

It is a root, or is signed by a parent: an authority that can be opened here, or one that is on no network, which
gets a request and gives a certificate back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys, numbers, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import ca_key, protection
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore.ca_key import check_belongs
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import parents, renewal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, handover, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass


def ensure(wanted: WantedAuthority, *, check: bool) -> Ensured:
    """Make the authority exist and be complete; with ``check`` only say what is missing.

    :raises MtlsError: what is there is another authority, is damaged, or must not be used.
    """
    layout.check_path(wanted.path)
    if check:
        handover.refuse_interrupted(wanted.path)
    else:
        handover.complete_interrupted(wanted.path)
    place = layout.Layout(wanted.path)
    if os.path.exists(place.path) and not os.path.isdir(place.path):
        raise MtlsError(f"{place.path}: is a file; name a directory")
    if wanted.parent and os.path.realpath(wanted.parent.path) == os.path.realpath(place.path):
        raise MtlsError(f"{place.path}: is named as its own parent; name the directory of the authority above it")
    key = wanted.key_at or ca_key.KeyFile(place.key, wanted.passphrase)
    if wanted.renew_before >= wanted.days:
        raise MtlsError(
            f"renew_before: is {wanted.renew_before} and days is {wanted.days}, so every run would renew the CA "
            "certificate; make renew_before less than days"
        )
    outcome = _foresee(wanted, place, key) if check else _establish(wanted, place, key)
    if not outcome.key_encrypted:
        outcome.warnings.append(
            f"{place.key}: the authority's key is stored in clear; set mtls_ca_passphrase (the option passphrase), and "
            "it is encrypted"
        )
    if wanted.key_at and os.path.exists(place.key):
        outcome.warnings.append(f"{place.key}: is not used, the key is in a token; keep it elsewhere, or destroy it")
    return outcome


def _establish(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> Ensured:
    if not os.path.exists(place.certificate):
        _check_creatable(wanted, place)
    files.make_directory(place.path, 0o700)
    with files.lock(place.lock):
        if os.path.exists(place.certificate):
            outcome, chain = _compare(wanted, place, key)
            if chain:
                files.write_file(place.certificate, chains.pem(chain), 0o644)
        else:
            outcome = _create(wanted, place, key)
        if outcome.pending:
            return outcome
        change = _protection_of(wanted, place, outcome)
        if change is not None:
            with audit.AuditLog(place.path).noting([{"did": audit.KEY, "what": change.what}]):
                protection.replace(place.key, change)
        renewed = _renewal_of(wanted, place, key, outcome, check=False)
        if renewed is not None:
            renewal.carry_out(place, renewed)
        outcome.added += layout.complete(place, wanted.crl_days)
    with open_directory(place.path, wanted.passphrase, read_only=False, key=key) as authority:
        if authority.crl_state() is None:
            authority.write_crl(wanted.crl_days)
            outcome.added.append("crl.pem")
        outcome.warnings += authority.warnings
    return outcome


def _foresee(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> Ensured:
    if not os.path.exists(place.certificate):
        return _foresee_creation(wanted, place, key)
    outcome, _chain = _compare(wanted, place, key)
    layout.check_not_lost(place)
    change = _protection_of(wanted, place, outcome)
    passphrase = change.opened_by if change is not None else wanted.passphrase
    _renewal_of(wanted, place, wanted.key_at or ca_key.KeyFile(place.key, passphrase), outcome, check=True)
    outcome.added += layout.missing(place)
    if "ca.crt" not in outcome.updated and set(outcome.added).isdisjoint(layout.ESSENTIAL):
        with open_directory(place.path, passphrase, read_only=True, key=wanted.key_at) as authority:
            if authority.crl_state() is None:
                outcome.added.append("crl.pem")
            outcome.warnings += authority.warnings
    elif not os.path.exists(place.crl):
        outcome.added.append("crl.pem")
    return outcome


def _foresee_creation(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> Ensured:
    name = _check_creatable(wanted, place)
    outcome = Ensured(True, None, key.protected(), [] if key.exists() else [key.name])
    if wanted.certificate and not os.path.exists(wanted.certificate):
        if not key.exists() or not _is_requested(place, key.load(), name):
            outcome.added.append("ca.csr")
        outcome.pending = _what_to_do(wanted, place)
        return outcome
    if wanted.certificate:
        ca_key.check_exists(key)
        _read_signed(wanted, key.load().public_key(), name)
    if wanted.parent:
        parents.check_signable(wanted.parent, parents.Child(place.path, name, wanted.days))
    outcome.added += ["ca.crt", *layout.missing(place), "crl.pem"]
    return outcome


def _check_creatable(wanted: WantedAuthority, place: layout.Layout) -> x509.Name:
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


def _create(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> Ensured:
    name = _check_creatable(wanted, place)
    added = []
    if key.exists():  # left by a run that was killed, or waiting for its certificate; a key is never overwritten
        private = key.load()
    else:
        if wanted.certificate and os.path.exists(wanted.certificate):
            raise MtlsError(
                f"{wanted.certificate}: is there, but no key that it could be for ({key.where} is missing); "
                f"{key.lost}, or move the certificate away to begin anew"
            )
        private = key.create(wanted.key)
        added.append(key.name)
    outcome = Ensured(True, None, key.protected(), added)
    if wanted.certificate and not os.path.exists(wanted.certificate):
        if not _is_requested(place, private, name):
            request = profiles.ca_request(private, name)
            files.write_file(place.request, request.public_bytes(serialization.Encoding.PEM), 0o644)
            added.append("ca.csr")
        outcome.pending = _what_to_do(wanted, place)
        outcome.warnings += key.warnings
        return outcome
    if wanted.certificate:
        chain = _read_signed(wanted, private.public_key(), name)
    elif wanted.parent:
        child = parents.Child(place.path, name, wanted.days)
        chain, warnings = parents.sign(wanted.parent, child, private.public_key())
        outcome.warnings += warnings
    else:
        validity = profiles.ca_validity(wanted.days, times.now())
        chain = (profiles.ca_certificate(private, name, numbers.random_serial(), validity),)
    with audit.AuditLog(place.path).noting([certificate_event(audit.CREATED, chain[0])]):
        files.create_file(place.certificate, chains.pem(chain), 0o644)
    added.append("ca.crt")
    outcome.certificate = chain[0]
    return outcome


def _is_requested(place: layout.Layout, private: keys.PrivateKey, name: x509.Name) -> bool:
    """Tell whether ca.csr is what somebody else should sign."""
    try:
        with open(place.request, "rb") as stream:
            request = x509.load_pem_x509_csr(stream.read())
    except (FileNotFoundError, ValueError):
        return False
    same_key = keys.public_der(request.public_key()) == keys.public_der(private.public_key())
    return same_key and request.subject == name


def _what_to_do(wanted: WantedAuthority, place: layout.Layout) -> str:
    return (
        f"{place.request}: waits to be signed as an intermediate CA; put the certificate, and those above it up to the "
        f"root, into {wanted.certificate} and run again"
    )


def _read_signed(
    wanted: WantedAuthority, public_key: keys.PublicKey, name: x509.Name | None
) -> Sequence[x509.Certificate]:
    """Return the chain that came back; ``name`` is the subject it must have.

    :raises MtlsError: it is not for our key, or must not be used.
    """
    found, path = read_certificates(wanted.certificate), wanted.certificate
    chain = chains.arrange(found, keys.public_der(public_key), path, times.now())
    if name is not None and chain[0].subject != name:
        raise MtlsError(
            f"{path}: is signed for {subjects.nginx_dn(chain[0].subject)}, and ca.csr asks for "
            f"{subjects.nginx_dn(name)}; have it signed with that subject, or correct the authority's"
        )
    for upper in chain[1:]:
        parents.check_distinct(chain[0].subject, upper, path)
    return chain


def _compare(
    wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey
) -> tuple[Ensured, Sequence[x509.Certificate] | None]:
    """Return what there is to say of an authority that exists, and the chain that should take the place of ca.crt.

    That is one that came back for the same key, or the certificates above ours, which may have been renewed as well.
    """
    current = read_certificates(place.certificate)
    certificate = current[0]
    if wanted.subject is not None:
        name = subjects.subject_name(wanted.subject, f"authority {place.path}")
        if name != certificate.subject:
            raise MtlsError(
                f"{place.certificate}: is the authority {subjects.nginx_dn(certificate.subject)}, and the subject "
                f"asked for is {subjects.nginx_dn(name)}; correct the subject, or choose another directory"
            )
    ca_key.check_exists(key)
    renewed = None
    if wanted.certificate and os.path.exists(wanted.certificate):
        renewed = _read_signed(wanted, certificate.public_key(), certificate.subject)
        if renewed == current or parents.life(renewed[0]) < parents.life(certificate):
            renewed = None
    if wanted.parent:
        parents.check_signed(wanted.parent, current, place.certificate)
        above = wanted.parent.chain
        if above and above != current[1:]:
            renewed = (certificate, *above)
    if not _is_renewable(wanted, certificate):
        chains.check(renewed or current, place.certificate, times.now())
    outcome = Ensured(False, (renewed or current)[0], key.protected(), ["ca.crt"] if renewed else [])
    found = keys.key_type(certificate.public_key())
    if found != wanted.key.type:
        outcome.warnings.append(
            f"{place.certificate}: has a key of type {found}, not {wanted.key.type}; it stays, "
            "because with another key it would be another authority"
        )
    return outcome, renewed


def _protection_of(wanted: WantedAuthority, place: layout.Layout, outcome: Ensured) -> protection.Change | None:
    """Return what is to be done to the key file, and note it in ``outcome``; a token sees to itself."""
    if wanted.key_at is not None:
        return None
    change = protection.judge(
        place.key, protection.Protection(wanted.passphrase, wanted.old_passphrase, wanted.decrypt)
    )
    if change is not None:
        check_belongs(
            keys.load_key(place.key, change.opened_by, validate=False),
            outcome.certificate,
            place.key,
            place.certificate,
        )
        outcome.updated["ca.key"] = change.what
        outcome.key_encrypted = keys.is_encrypted(change.pem)
    return change


def _is_renewable(wanted: WantedAuthority, certificate: x509.Certificate) -> bool:
    """Tell whether the CA certificate is due, and who has to sign the next one is here."""
    is_here = certificate.issuer == certificate.subject or bool(wanted.parent and wanted.parent.chain)
    return is_here and renewal.is_due(certificate, wanted.renew_before)


def _renewal_of(
    wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey, outcome: Ensured, *, check: bool
) -> x509.Certificate | None:
    """Return the CA certificate that is to follow, if any, and note it in ``outcome``; or warn of the end.

    With ``check`` a parent signs nothing: what it would sign is only noted.
    """
    current = outcome.certificate
    if not _is_renewable(wanted, current):
        if renewal.ends_early(current) or renewal.is_due(current, wanted.renew_before):
            outcome.warnings.append(
                f"{place.certificate}: ends on {times.iso(current.not_valid_after_utc)}, and nothing that it signs may "
                f"end later; {_how_to_renew(wanted, place, current)} (same key: clients keep their certificates)"
            )
        return None
    if current.issuer == current.subject:
        renewed = renewal.by_itself(place, key, wanted.days)
        if renewed.serial_number == current.serial_number:
            outcome.warnings.append(
                f"{place.certificate}: is renewed with the same serial number, because clients' certificates name it"
            )
    else:
        renewed = _renewal_by_parent(wanted, place, key, outcome, check=check)
    outcome.certificate = renewed or current
    outcome.updated["ca.crt"] = f"renewed for {wanted.days} days, it ended on {times.iso(current.not_valid_after_utc)}"
    return renewed


def _renewal_by_parent(
    wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey, outcome: Ensured, *, check: bool
) -> x509.Certificate | None:
    current = outcome.certificate
    child = parents.Child(place.path, current.subject, wanted.days)
    renewal.check_may_follow(place, key)
    if check:
        parents.check_signable(wanted.parent, child)
        return None
    (renewed, *_above), warnings = parents.sign(wanted.parent, child, current.public_key(), follows=current)
    outcome.warnings += warnings
    return renewed


def _how_to_renew(wanted: WantedAuthority, place: layout.Layout, current: x509.Certificate) -> str:
    by_variable = "renew it with mtls_ca_renew_before, the number of days before its end"
    if current.issuer == current.subject:
        return by_variable
    if wanted.parent is not None:
        bring_back = "" if wanted.parent.chain else f"bring back its parent to {wanted.parent.path} and "
        return bring_back + by_variable
    request = f" ({place.request})" if os.path.exists(place.request) else ""
    return (
        f"have the CA above sign it again for its key{request}, and put the certificate, with those above it, "
        f"into {wanted.certificate or 'the file that mtls_ca_certificate names'}"
    )
