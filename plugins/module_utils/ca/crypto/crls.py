# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate revocation lists: built in linear time, read, and checked before they are shipped.

``CertificateRevocationListBuilder`` of ``cryptography`` is quadratic in the number of entries, so the entries
are put together as DER here and signed once (RFC 5280, section 5).
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, crl_scope, keys, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Issuer
from ansible_collections.mtls.nginx.plugins.module_utils.common import der, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

_REASON_CODES = {
    "keyCompromise": 1,
    "CACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
}
_FROM_EXTENSION = {"cACompromise": "CACompromise", "aACompromise": "unspecified"}
# RFC 5280 wants "unspecified" left out; removeFromCRL in a complete CRL would make openssl take the
# certificate for good again.
_WITHOUT_CODE = frozenset({None, "unspecified", "removeFromCRL"})
MANY = 10_000
_MILLISECONDS_AN_ENTRY = 0.11 / 1000  # OpenSSL hashes the whole list each time: docs/performance.md
_PEM_BEGIN = b"-----BEGIN "
# [^-]* is for speed: a repeated group costs 200 bytes of memory for each byte it matches.
PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[^-]*(?:-(?!----)[^-]*)*-----END \1-----")


@dataclass(frozen=True)
class Revoked:
    """All entries of a CRL as DER (empty when there are none), and their number."""

    encoded: bytes
    count: int


@dataclass(frozen=True)
class Crl:
    """A CRL as it was read: ``cryptography`` would encode it all again to give its bytes back."""

    encoded: bytes
    parsed: x509.CertificateRevocationList

    @property
    def signed_part(self) -> bytes:
        """TBSCertList, in DER."""
        return next(der.elements(next(der.elements(self.encoded)).content)).encoded


def encode_revoked(revocations: Mapping[tuple[str, str | None], Sequence[str]]) -> Revoked:
    """Return ``revokedCertificates`` sorted by serial, as ``openssl ca -gencrl`` sorts.

    :arg revocations: serials in hexadecimal by time (as ASN.1 text) and reason, which may be None.
    :raises MtlsError: a reason that RFC 5280 does not know.
    """
    entries: dict[str, bytes] = {}
    for (moment, reason), serials in revocations.items():
        ending = _revocation_date(serials[0], moment) + _reason_extension(serials[0], reason)
        for digits, negative in {(len(serial), serial[0] > "7") for serial in serials}:
            beginning = _beginning(digits, negative, ending)
            entries |= {
                serial: beginning + bytes.fromhex(serial) + ending
                for serial in serials
                if len(serial) == digits and (serial[0] > "7") is negative
            }
    in_order = sorted(sorted(entries), key=len)  # as numbers: they have no leading zeros
    encoded = b"".join([entries[serial] for serial in in_order])
    return Revoked(der.encode(der.SEQUENCE, encoded) if encoded else b"", len(entries))


def _beginning(digits: int, negative: bool, ending: bytes) -> bytes:
    """Return what comes before a serial's octets, which is the same for all of a length."""
    number = bytes(digits // 2 + negative)  # without a zero octet before it, it would be negative
    entry = der.encode(der.SEQUENCE, der.encode(der.INTEGER, number) + ending)
    return entry[: len(entry) - len(ending) - digits // 2]


def build_crl(issuer: Issuer, revoked: Revoked, state: CrlState) -> bytes:
    """Return a signed version 2 CRL in PEM, with authorityKeyIdentifier and cRLNumber."""
    algorithm = keys.signature_algorithm(issuer.key)
    extensions = b"".join(
        der.encode(der.SEQUENCE, der.oid(oid) + der.encode(der.OCTET_STRING, value))
        for oid, value in (
            ("2.5.29.35", issuer.key_identifier.public_bytes()),
            ("2.5.29.20", der.integer(state.number)),
        )
    )
    to_be_signed = der.encode(
        der.SEQUENCE,
        der.integer(1)
        + algorithm
        + issuer.certificate.subject.public_bytes()
        + _time(times.asn1_text(state.last_update))
        + _time(times.asn1_text(state.next_update))
        + revoked.encoded
        + der.encode(0xA0, der.encode(der.SEQUENCE, extensions)),
    )
    signature = der.encode(der.BIT_STRING, b"\x00" + keys.sign(issuer.key, to_be_signed))
    return _pem(der.encode(der.SEQUENCE, to_be_signed + algorithm + signature))


def _pem(crl: bytes) -> bytes:
    """Return a CRL in PEM (RFC 7468), six times as fast as ``public_bytes`` of ``cryptography``."""
    text = base64.b64encode(crl)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN X509 CRL-----", *lines, b"-----END X509 CRL-----", b""))


def lists_exactly(crl: Crl, revoked: Revoked) -> bool:
    """Tell whether a CRL has these entries, serials, dates and reasons alike."""
    return len(crl.parsed) == revoked.count and revoked.encoded in crl.signed_part


def check_size(entries: int, most: int, path: str) -> str | None:
    """Return a warning about a CRL that is so long that each handshake with a host takes notice.

    :raises MtlsError: it has ``most`` entries or more.
    """
    if entries < min(MANY, most):
        return None
    cost = (
        f"{path}: lists {entries:,} certificates, so each full handshake with a host takes about "
        f"{entries * _MILLISECONDS_AN_ENTRY:.1f} ms longer for it"
    )
    if entries >= most:
        raise MtlsError(
            f"{cost}. All of them are recorded and crl.pem is complete, but it is not installed with {most:,} entries "
            "or more: set mtls_crl_max_entries (max_entries of mtls.nginx.crl) higher. Shorter-lived certificates, or "
            "a second authority, keep it small"
        )
    return f"{cost}; shorter-lived certificates, or a second authority, keep it small"


def prunes(state: CrlState) -> datetime:
    """Return until when a certificate must have expired to be left out of a CRL with these dates.

    RFC 5280, 3.3: an entry stays until it was on one regularly scheduled CRL issued after the certificate's end. Each
    CRL is replaced before its own end, so within as long as one is valid there was another before it.
    """
    return state.last_update - (state.next_update - state.last_update)


def state_of(crl: Crl) -> CrlState:
    """Return what a CRL says of itself; one without a number (version 1) counts as 0."""
    parsed = crl.parsed
    try:
        number = parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = 0
    last_update = parsed.last_update_utc
    return CrlState(number, last_update, parsed.next_update_utc or last_update, len(parsed))


def reason_of(revoked: x509.RevokedCertificate) -> str:
    """Return the reason that a CRL gives, in the spelling of index.txt."""
    try:
        reason = revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return "unspecified"
    return _FROM_EXTENSION.get(reason, reason)


def parse_crls(pem: bytes, path: str) -> list[Crl]:
    """Return the CRLs of a PEM file.

    :raises MtlsError: a block that is not a CRL (nginx would trust a certificate in it: nginx fact A5), or none.
    """
    blocks = list(PEM_BLOCK.finditer(pem))
    if len(blocks) != pem.count(_PEM_BEGIN):
        raise MtlsError(f"{path}: is damaged; remove it, and mtls.nginx.crl writes a new one")
    for block in blocks:
        if block[1] != b"X509 CRL":
            raise MtlsError(f"{path}: contains a {block[1].decode()}, and must contain CRLs only; write a new one")
    try:
        encoded = [decode_pem(block[0]) for block in blocks]
        crls = [Crl(one, x509.load_der_x509_crl(one)) for one in encoded]
        for crl in crls:
            len(crl.parsed.extensions)  # which are read when they are asked for
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise MtlsError(f"{path}: is damaged; remove it, and mtls.nginx.crl writes a new one") from error
    if not crls:
        raise MtlsError(f"{path}: contains no CRL in PEM; remove it, and mtls.nginx.crl writes a new one")
    return crls


def decode_pem(block: bytes) -> bytes:
    """Return what is between the two lines of a PEM block; raises ValueError."""
    text = block[block.index(b"-----", 11) + 5 : block.rindex(b"-----END")]
    return base64.b64decode(text.translate(None, b" \t\r\n"), validate=True)


def was_signed_by(crl: Crl, issuer: x509.Certificate) -> bool:
    """Tell whether ``issuer`` signed ``crl``, be it with SHA-1 or MD5: what it lists was revoked then, too."""
    if is_by(crl, issuer):
        return True
    digest = crl.parsed.signature_hash_algorithm
    if not _has_name_of(crl, issuer) or not isinstance(digest, (hashes.SHA1, hashes.MD5)):
        return False
    try:
        keys.verify(issuer.public_key(), crl.parsed.signature, crl.signed_part, digest)
    except InvalidSignature:
        return False
    return True


def _has_name_of(crl: Crl, issuer: x509.Certificate) -> bool:
    return subjects.are_one_name(crl.parsed.issuer.public_bytes(), issuer.subject.public_bytes())


def is_by(crl: Crl, issuer: x509.Certificate) -> bool:
    """Tell whether ``issuer`` signed ``crl``."""
    if not _has_name_of(crl, issuer):
        return False
    key = issuer.public_key()
    if not isinstance(
        key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
    ) or not _is_signed_as_ours(crl, key):
        if not hasattr(key, "verify"):  # a key that only agrees on secrets
            return False
        return crl.parsed.is_signature_valid(cast("CertificateIssuerPublicKeyTypes", key))
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(crl.parsed.signature, crl.signed_part)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(crl.parsed.signature, crl.signed_part, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(crl.parsed.signature, crl.signed_part, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _is_signed_as_ours(crl: Crl, key: keys.PublicKey) -> bool:
    """Tell whether a CRL names our algorithm for this kind of key, in both of the places where it must."""
    algorithm = keys.signature_algorithm(key)
    outer = list(der.elements(next(der.elements(crl.encoded)).content))
    inner = list(itertools.islice(der.elements(outer[0].content), 2))
    return outer[1].encoded == algorithm and inner[1].encoded == algorithm


def newest_by(issuer: x509.Certificate, crls: Sequence[Crl]) -> Crl | None:
    """Return the CRL that ``issuer`` signed last; the first of those that are equal."""
    found = [crl for crl in crls if is_by(crl, issuer)]
    return max(found, key=lambda crl: (state_of(crl).number, crl.parsed.last_update_utc), default=None)


def check_above(chain: Sequence[x509.Certificate], crls: Sequence[Crl], path: str, warn_days: int) -> list[str]:
    """Return warnings: a CRL of a CA above the first of ``chain`` expires within ``warn_days``, or lists a CA of it.

    :arg crls: one of each CA above, as far as there are any; they go into the file ``path``.
    :raises MtlsError: one has none, or one that has expired: nginx would refuse every client.
    """
    now, remedy = times.now(), "put it into the file that mtls_ca_parent_crl names"
    warnings = []
    for lower, upper in zip(chain, chain[1:]):
        name = _dn(upper.subject)
        crl = newest_by(upper, crls)
        if crl is None:
            raise MtlsError(f"{path}: there is no CRL of {name}, and nginx would refuse every client; {remedy}")
        end = state_of(crl).next_update
        if end <= now:
            raise MtlsError(
                f"{path}: the CRL of {name} expired on {times.iso(end)}, and nginx refuses every client; have it sign "
                f"a new one, and {remedy}"
            )
        if end <= times.in_days(now, warn_days, "parent_crl_warn_days"):
            warnings.append(
                f"{path}: the CRL of {name} expires on {times.iso(end)}, and from then on nobody gets in; have it "
                f"sign a new one, and {remedy}"
            )
        if crl.parsed.get_revoked_certificate_by_serial_number(lower.serial_number) is not None:
            warnings.append(
                f"{path}: {name} has revoked {_dn(lower.subject)}, so that hosts refuse every client; set up a new "
                "authority"
            )
    return warnings


def check_shippable(crl_pem: bytes, chain_pem: bytes, now: datetime, path: str = "crl.pem") -> None:
    """Raise MtlsError unless nginx may be given this CRL file with this CA bundle.

    nginx itself takes an expired CRL, one of a strange issuer and one with a bad signature without a word and
    then refuses every client (nginx facts 2 and 9). So each CRL must be signed by a CA of the bundle and be
    valid now, and each CA of the bundle must have one that OpenSSL accepts for whom it is needed (``crl_scope.py``).
    """
    remedy = "run mtls.nginx.crl on the controller"
    chain = x509.load_pem_x509_certificates(chain_pem)
    usable: dict[int, list[Crl]] = {number: [] for number in range(len(chain))}
    faults: dict[int, str] = {}
    for crl in parse_crls(crl_pem, path):
        issuers = [number for number, certificate in enumerate(chain) if is_by(crl, certificate)]
        if not issuers:
            raise MtlsError(
                f"{path}: was not signed by this authority (its issuer is {_dn(crl.parsed.issuer)}); {remedy}"
            )
        begin, end = crl.parsed.last_update_utc, crl.parsed.next_update_utc
        if begin > now:
            raise MtlsError(f"{path}: is valid from {times.iso(begin)}; check this machine's clock")
        if end is None or end <= now:
            ended = "has no end date" if end is None else f"expired on {times.iso(end)}"
            raise MtlsError(f"{path}: {ended}, and nginx would refuse every client; {remedy}")
        if crl_scope.is_delta(crl.parsed):
            raise MtlsError(
                f"{path}: the CRL of {_dn(crl.parsed.issuer)} is a delta CRL, which lists changes only, and nginx "
                "would let in whom only the complete one lists; use the complete CRL"
            )
        for number in issuers:
            fault = crl_scope.unusable(crl.parsed, crl.signed_part, chain[number])
            if fault is None:
                usable[number].append(crl)
            else:
                faults[number] = fault
    for number, certificate in enumerate(chain):
        if usable[number]:
            continue
        name = _dn(certificate.subject)
        if number in faults:
            raise MtlsError(f"{path}: the CRL of {name} {faults[number]}, so that nobody would get in; {_COMPLETE}")
        raise MtlsError(
            f"{path}: holds no CRL of {name}, and nginx would refuse every client; "
            "name the file with that authority's CRL in mtls_ca_parent_crl"
        )
    _check_scope(chain, usable, path)


_COMPLETE = "have its CA make a complete CRL without a restricting issuingDistributionPoint, and use that"


def _check_scope(chain: Sequence[x509.Certificate], usable: Mapping[int, Sequence[Crl]], path: str) -> None:
    """Raise MtlsError where a certificate of the bundle, or every client, is outside the scope of the CRLs."""
    meant = chains.issuing(chain)
    for number, certificate in enumerate(chain):
        uppers = [upper for upper in usable if chains.was_issued_by(certificate, chain[upper])]
        faults = [crl_scope.excludes(crl.parsed, certificate) for upper in uppers for crl in usable[upper]]
        if faults and all(faults):
            raise MtlsError(
                f"{path}: the CRL of {_dn(certificate.issuer)} {faults[0]}, so it does not cover the CA "
                f"{_dn(certificate.subject)}, and nginx would refuse every client; {_COMPLETE}"
            )
        if certificate in meant:
            faults = [crl_scope.excludes_clients(crl.parsed) for crl in usable[number]]
            if all(faults):
                raise MtlsError(
                    f"{path}: the CRL of {_dn(certificate.subject)} {faults[0]}, so it covers no client, and nginx "
                    f"would refuse every one; {_COMPLETE}"
                )


def merge(own: bytes, others: Sequence[Crl]) -> bytes:
    """Return one PEM file: our CRL, then those of the CAs above."""
    return own + b"".join(_pem(crl.encoded) for crl in others)


def _dn(name: x509.Name) -> str:
    return subjects.nginx_dn(name)


def _time(text: str) -> bytes:
    return der.encode(der.UTC_TIME if len(text) == 13 else der.GENERALIZED_TIME, text.encode("ascii"))


def _revocation_date(serial: str, moment: str) -> bytes:
    try:
        times.from_asn1(moment)
    except ValueError as error:
        raise MtlsError(
            f"index.txt: serial {serial} was revoked on {moment}, a date that does not exist; correct the line"
        ) from error
    return _time(moment)


def _reason_extension(serial: str, reason: str | None) -> bytes:
    if reason in _WITHOUT_CODE:
        return b""
    code = _REASON_CODES.get(reason or "")
    if code is None:
        raise MtlsError(
            f"index.txt: serial {serial} is revoked with the unknown reason {reason!r}; "
            f"correct the line, known are {', '.join(_REASON_CODES)}"
        )
    value = der.encode(der.OCTET_STRING, der.integer(code, der.ENUMERATED))
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, der.oid("2.5.29.21") + value))


@dataclass(frozen=True)
class CrlState:
    """A CRL's number, its two dates, and how many certificates it lists."""

    number: int
    last_update: datetime
    next_update: datetime
    entries: int
