# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new authority, or a directory made by hand that becomes one: what ``ca_init`` does.

It is a root, or is signed by a parent: an authority that can be opened here, or one that is on no network, which
gets a request and gives a certificate back.

All that is to be done is planned first, and nothing is changed by that. Check mode returns what the plan says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys, numbers, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import ca_key, protection
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore.ca_key import check_belongs
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import parents, renewal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, handover, layout, permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class _Creation:
    """A new authority with the subject ``name``; what is not known yet is made when it is carried out.

    ``makes_key`` and ``requests`` tell whether the key and ca.csr are to be made. ``chain`` is the content of ca.crt if
    it was signed elsewhere, ``child`` what the parent is to sign; without either the certificate signs itself.
    """

    ensured: Ensured
    name: x509.Name
    makes_key: bool
    requests: bool = False
    chain: Sequence[x509.Certificate] | None = None
    child: parents.Child | None = None

    def carry_out(self, wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> None:
        """Do it; the caller holds the lock."""
        # A key is never overwritten: it was left by a run that was killed, or waits for its certificate.
        private = key.create(wanted.key) if self.makes_key else key.load()
        if self.requests:
            request = profiles.ca_request(private, self.name)
            files.write_file(place.request, request.public_bytes(serialization.Encoding.PEM), 0o644)
        if self.ensured.pending:
            return
        chain = self.chain or self._sign(wanted, private)
        with audit.AuditLog(place.path).noting([certificate_event(audit.CREATED, chain[0])]):
            files.create_file(place.certificate, chains.pem(chain), 0o644)
        self.ensured.certificate = chain[0]
        layout.complete(place, wanted.crl_days)

    def _sign(self, wanted: WantedAuthority, private: keys.PrivateKey) -> Sequence[x509.Certificate]:
        if wanted.parent is not None and self.child is not None:
            chain, warnings = parents.sign(wanted.parent, self.child, private.public_key())
            self.ensured.warnings += warnings
            return chain
        validity = profiles.ca_validity(wanted.days, times.now())
        return (profiles.ca_certificate(private, self.name, numbers.random_serial(), validity),)


@dataclass(frozen=True)
class _Upkeep:
    """What is to be done to an authority that exists.

    ``chain`` takes the place of ca.crt, ``change`` that of the key file. The CA certificate that is to follow is
    ``renewed``, or the parent signs it for ``child`` in place of ``current``; the audit log has it as ``did``.
    """

    ensured: Ensured
    current: x509.Certificate
    chain: Sequence[x509.Certificate] | None
    change: protection.Change | None
    renewed: x509.Certificate | None = None
    child: parents.Child | None = None
    did: str = audit.CA_RENEWED

    def carry_out(self, wanted: WantedAuthority, place: layout.Layout, _key: ca_key.CaKey) -> None:
        """Do it; the caller holds the lock."""
        if self.chain:
            files.write_file(place.certificate, chains.pem(self.chain), 0o644)
        if self.change is not None:
            with audit.AuditLog(place.path).noting([{"did": audit.KEY, "what": self.change.what}]):
                protection.replace(place.key, self.change)
        renewed = self.renewed
        if wanted.parent is not None and self.child is not None:
            (renewed, *_above), warnings = parents.sign(
                wanted.parent, self.child, self.current.public_key(), follows=self.current
            )
            self.ensured.warnings += warnings
        if renewed is not None:
            renewal.carry_out(place, renewed, self.did)
            self.ensured.certificate = renewed
        layout.complete(place, wanted.crl_days)


_Plan = Union[_Creation, _Upkeep]


def ensure(wanted: WantedAuthority, *, check: bool) -> Ensured:
    """Make the authority exist and be complete; with ``check`` only say what is missing.

    :raises MtlsError: what is there is another authority, is damaged, or must not be used.
    """
    layout.check_path(wanted.path)
    for path in [wanted.path, *([wanted.parent.path] if wanted.parent is not None else [])]:
        if check:
            handover.refuse_interrupted(path)
        else:
            handover.complete_interrupted(path)
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
    ensured = _foresee(wanted, place, key) if check else _establish(wanted, place, key)
    if not ensured.key_encrypted:
        ensured.warnings.append(
            f"{place.key}: the authority's key is stored unencrypted; set mtls_ca_passphrase (the option passphrase), "
            "and it is encrypted"
        )
    elif wanted.key_at is None and wanted.passphrase and len(wanted.passphrase) < keys.SHORT_PASSPHRASE:
        ensured.warnings.append(
            f"{place.key}: its passphrase has {len(wanted.passphrase)} characters, so whoever copies the file can "
            f"guess it by brute force; use {keys.SHORT_PASSPHRASE} or more (and give the present one as "
            "mtls_ca_old_passphrase)"
        )
    if wanted.key_at and os.path.exists(place.key):
        ensured.warnings.append(f"{place.key}: is not used, the key is in a token; keep it elsewhere, or destroy it")
    return ensured


def _foresee(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> Ensured:
    """Return what the plan says, and whether a CRL would be signed."""
    plan = _plan(wanted, place, key)
    ensured = plan.ensured
    if ensured.pending:
        return ensured
    is_open = isinstance(plan, _Upkeep) and "ca.crt" not in ensured.updated
    if is_open and set(ensured.added).isdisjoint(layout.ESSENTIAL):
        opened_by = wanted.passphrase
        if isinstance(plan, _Upkeep) and plan.change is not None:
            opened_by = plan.change.opened_by
        with open_directory(place.path, opened_by, read_only=True, key=wanted.key_at) as authority:
            if authority.crl_state() is None:
                ensured.added.append("crl.pem")
            ensured.warnings += authority.warnings
    elif not os.path.exists(place.crl):
        ensured.added.append("crl.pem")
    return ensured


def _establish(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> Ensured:
    """Carry the plan out, and sign the first CRL."""
    plan = None if os.path.exists(place.lock) else _plan(wanted, place, key)  # a mistake leaves nothing behind
    files.make_directory(place.path, 0o700)
    with files.lock(place.lock):
        if plan is None or os.listdir(place.path) != [os.path.basename(place.lock)]:
            plan = _plan(wanted, place, key)
        plan.carry_out(wanted, place, key)
    ensured = plan.ensured
    if ensured.pending:
        return ensured
    with open_directory(place.path, wanted.passphrase, read_only=False, key=key) as authority:
        if authority.crl_state() is None:
            authority.write_crl(wanted.crl_days)
            ensured.added.append("crl.pem")
        ensured.warnings += authority.warnings
    return ensured


def _plan(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> _Plan:
    """Return what is to be done; nothing is changed.

    :raises MtlsError: it cannot be done, or must not.
    """
    permissions.check(place.path)
    if os.path.exists(place.certificate):
        return _plan_upkeep(wanted, place, key)
    return _plan_creation(wanted, place, key)


def _plan_creation(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> _Creation:
    name = _check_creatable(wanted, place)
    makes_key = not key.exists()
    ensured = Ensured(True, None, key.protected(), [key.name] if makes_key else [])
    if wanted.certificate and not os.path.exists(wanted.certificate):
        requests = makes_key or not _is_requested(place, key.load(), name)
        if requests:
            ensured.added.append("ca.csr")
        ensured.pending = _what_to_do(wanted, place)
        ensured.warnings += key.warnings
        return _Creation(ensured, name, makes_key, requests)
    if wanted.certificate and makes_key:
        raise MtlsError(
            f"{wanted.certificate}: is there, but not its private key ({key.where} is missing); {key.lost}, or "
            "move the certificate away to start over"
        )
    layout.check_not_lost(place)
    ensured.added += ["ca.crt", *layout.missing(place)]
    if wanted.certificate:
        chain = _read_signed(wanted.certificate, key.load().public_key(), name)
        return _Creation(ensured, name, makes_key, chain=chain)
    if wanted.parent:
        child = parents.Child(place.path, name, wanted.days)
        parents.check_signable(wanted.parent, child)
        return _Creation(ensured, name, makes_key, child=child)
    return _Creation(ensured, name, makes_key)


def _check_creatable(wanted: WantedAuthority, place: layout.Layout) -> x509.Name:
    if wanted.subject is None:
        raise MtlsError(f"{place.path}: there is no authority yet, and no subject to create one with; set subject")
    if os.path.exists(place.index) and os.path.getsize(place.index):
        raise MtlsError(
            f"{place.certificate}: is missing although index.txt lists certificates; restore it from a backup"
        )
    if wanted.key.type == keys.ED25519 and wanted.key_at is not None:
        raise MtlsError(
            f"{wanted.key_at.where}: tokens sign with RSA and ECDSA keys here; choose one (mtls_ca_key_type)"
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


def _is_requested(place: layout.Layout, private: keys.PrivateKey, name: x509.Name) -> bool:
    """Tell whether ca.csr is what the CA above is to sign."""
    pem = files.read_if_there(place.request)
    try:
        request = x509.load_pem_x509_csr(pem or b"")
    except ValueError:
        return False
    same_key = keys.public_der(request.public_key()) == keys.public_der(private.public_key())
    return same_key and request.subject == name


def _what_to_do(wanted: WantedAuthority, place: layout.Layout) -> str:
    return (
        f"{place.request}: waits to be signed as an intermediate CA; put the certificate, and those above it up to the "
        f"root, into {wanted.certificate} and run again"
    )


def _read_signed(path: str, public_key: keys.AnyPublicKey, name: x509.Name) -> Sequence[x509.Certificate]:
    """Return the chain that came back in the file ``path``; ``name`` is the subject it must have.

    :raises MtlsError: it is not for our key, or must not be used.
    """
    chain = chains.arrange(read_certificates(path), keys.public_der(public_key), path, times.now())
    if chain[0].subject != name:
        raise MtlsError(
            f"{path}: is signed for {subjects.nginx_dn(chain[0].subject)}, and ca.csr asks for "
            f"{subjects.nginx_dn(name)}; have it signed with that subject, or correct the authority's"
        )
    for upper in chain[1:]:
        parents.check_distinct(chain[0].subject, upper, path)
    return chain


def _plan_upkeep(wanted: WantedAuthority, place: layout.Layout, key: ca_key.CaKey) -> _Upkeep:
    current = read_certificates(place.certificate)
    profiles.check_not_pss(current[0], place.certificate)
    if wanted.subject is not None:
        name = subjects.subject_name(wanted.subject, f"authority {place.path}")
        if name != current[0].subject:
            raise MtlsError(
                f"{place.certificate}: is the authority {subjects.nginx_dn(current[0].subject)}, and the subject "
                f"asked for is {subjects.nginx_dn(name)}; correct the subject, or choose another directory"
            )
    ca_key.check_exists(key)
    chain = _chain_to_follow(wanted, place, current)
    change = _protection_of(wanted, place, (chain or current)[0])
    opened = key if change is None else ca_key.KeyFile(place.key, change.opened_by)
    repaired = None
    if wanted.repair and chain is None and profiles.is_repairable(current[0]):
        repaired = renewal.repaired(place, opened)
        current = (repaired, *current[1:])
    certificate = (chain or current)[0]
    is_renewable = _is_renewable(wanted, certificate)
    if not _is_renewable(wanted, current[0]):
        chains.check(chain or current, place.certificate, times.now())
    layout.check_not_lost(place)
    encrypted = keys.is_encrypted(change.pem) if change is not None else key.protected()
    ensured = Ensured(False, certificate, encrypted, ["ca.crt"] if chain else [], warnings=[])
    ensured.added += layout.missing(place)
    found = keys.key_type(certificate.public_key())
    if found != wanted.key.type:
        ensured.warnings.append(
            f"{place.certificate}: has a key of type {found}, not {wanted.key.type}; it stays, "
            "because with another key it would be another authority"
        )
    ensured.warnings += _weaknesses(chain or current, place.certificate)
    if change is not None:
        ensured.updated["ca.key"] = change.what
        key = opened
    if repaired is not None:
        ensured.updated["ca.crt"] = (
            "reissued as the certificate of a CA that may sign CRLs, with the same key, subject and serial number; the "
            "old one is kept beside it"
        )
    if not is_renewable:
        if renewal.ends_early(certificate) or renewal.is_due(certificate, wanted.renew_before):
            ensured.warnings.append(
                f"{place.certificate}: expires on {times.iso(certificate.not_valid_after_utc)}, and nothing that it "
                f"signs may expire later; {_how_to_renew(wanted, place, certificate)} (same key: clients keep their "
                "certificates)"
            )
        return _Upkeep(ensured, certificate, chain, change, repaired, did=audit.CA_REPAIRED)
    expires = times.iso(certificate.not_valid_after_utc)
    ensured.updated["ca.crt"] = f"renewed for {wanted.days} days, it expires on {expires}"
    if certificate.issuer != certificate.subject and wanted.parent is not None:
        child = parents.Child(place.path, certificate.subject, wanted.days)
        renewal.check_may_follow(place, key)
        parents.check_signable(wanted.parent, child)
        return _Upkeep(ensured, certificate, chain, change, child=child)
    renewed = renewal.by_itself(place, key, wanted.days, certificate)
    ensured.certificate = renewed
    if renewed.serial_number == certificate.serial_number:
        ensured.warnings.append(
            f"{place.certificate}: is renewed with the same serial number, because clients' certificates name it"
        )
    return _Upkeep(ensured, certificate, chain, change, renewed)


def _weaknesses(chain: Sequence[x509.Certificate], path: str) -> list[str]:
    """Return warnings about CAs that OpenSSL, in nginx or in other programs, takes for too weak.

    It does not check the signature of a root, and nginx accepts one with SHA-1.
    """
    found = []
    for certificate in chain:
        name, by = subjects.nginx_dn(certificate.subject), profiles.key_weakness(certificate)
        if by is not None:
            found.append(
                f"{path}: the CA {name} {by}: nginx on Debian, Ubuntu and others (security level 2) refuses every"
                " client for it (error 67, CA key too weak), and it can be broken; begin a rollover to a new"
                " CA (playbook mtls.nginx.rollover)" + ("" if certificate is chain[0] else ", below another root")
            )
        digest = profiles.signature_weakness(certificate)
        if digest is not None and certificate.issuer == certificate.subject:
            found.append(
                f"{path}: the root {name} is signed with {digest}, which nginx accepts in a root, and other programs"
                " may not; renew it for the same key, which signs with SHA-256 (mtls_ca_renew_before, for one run more"
                " than the days that it has left)"
            )
    return found


def _chain_to_follow(
    wanted: WantedAuthority, place: layout.Layout, current: Sequence[x509.Certificate]
) -> Sequence[x509.Certificate] | None:
    """Return the chain that should take the place of the ``current`` one in ca.crt, or None.

    That is one that came back for the same key, or the certificates above ours, which may have been renewed as well.
    """
    chain: Sequence[x509.Certificate] | None = None
    if wanted.certificate and os.path.exists(wanted.certificate):
        chain = _read_signed(wanted.certificate, current[0].public_key(), current[0].subject)
        if chain == current or parents.life(chain[0]) < parents.life(current[0]):
            chain = None
    if wanted.parent:
        parents.check_signed(wanted.parent, current, place.certificate)
        above = wanted.parent.chain
        if above and above != current[1:]:
            chain = (current[0], *above)
    return chain


def _protection_of(
    wanted: WantedAuthority, place: layout.Layout, certificate: x509.Certificate
) -> protection.Change | None:
    """Return what is to be done to the key file, or None; a token sees to itself."""
    if wanted.key_at is not None:
        return None
    change = protection.judge(
        place.key, protection.Protection(wanted.passphrase, wanted.old_passphrase, wanted.decrypt)
    )
    if change is not None:
        key = keys.load_key(place.key, change.opened_by, validate=False)
        check_belongs(key, certificate, place.key, place.certificate)
    return change


def _is_renewable(wanted: WantedAuthority, certificate: x509.Certificate) -> bool:
    """Tell whether the CA certificate is due, and who has to sign the next one is here."""
    is_here = certificate.issuer == certificate.subject or bool(wanted.parent and wanted.parent.chain)
    return is_here and renewal.is_due(certificate, wanted.renew_before)


def _how_to_renew(wanted: WantedAuthority, place: layout.Layout, current: x509.Certificate) -> str:
    by_variable = "renew it with mtls_ca_renew_before, the number of days before it expires"
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
