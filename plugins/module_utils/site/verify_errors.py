# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What OpenSSL says of a client certificate that it refuses, as nginx logs it, and what that means here.

nginx lets OpenSSL go on after an error and logs the last one (``SSL_get_verify_result``). OpenSSL looks at the chain,
the extensions, the strength of keys and digests, the CRLs, and at last at signatures and dates (``X509_verify_cert``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

_PREFIX = "FAILED:"


class Remedy(Enum):
    """What to do about an error. The doctor knows the words for the host and the client in question."""

    NEW_CERTIFICATE = "new certificate"
    NEW_CRL = "new CRL"
    COMPLETE_CRL = "complete CRL"
    CA = "CA"
    NAME = "name"
    CLOCK = "clock"
    DATES = "dates"
    SITE = "site"
    RELOAD = "reload"


@dataclass(frozen=True)
class VerifyError:
    """One of OpenSSL's verify errors, by its number in ``x509_vfy.h``.

    ``said_by`` are the causes of the doctor that say the same. ``chains``: the certificate may be of a CA that the host
    does not trust; after any other error OpenSSL would have found that later, and nginx would have logged that.
    ``by_crl``: a newer CRL may have put an end to it.
    """

    number: int
    sentence: str
    remedy: Remedy
    said_by: frozenset[str] = frozenset()
    chains: bool = False
    by_crl: bool = False


_NO_CA = frozenset({"other_authority", "not_rolled_out"})


def _crl(number: int, sentence: str, remedy: Remedy = Remedy.COMPLETE_CRL, *said_by: str) -> VerifyError:
    return VerifyError(number, sentence, remedy, frozenset(said_by), by_crl=True)


def _chain(number: int, sentence: str, remedy: Remedy = Remedy.RELOAD) -> VerifyError:
    return VerifyError(number, sentence, remedy, _NO_CA, chains=True)


def _certificate(number: int, sentence: str, *said_by: str) -> VerifyError:
    return VerifyError(number, sentence, Remedy.NEW_CERTIFICATE, frozenset(said_by))


def _other(number: int, sentence: str) -> VerifyError:
    """Return an error that OpenSSL also finds in the certificate of a stranger."""
    return VerifyError(number, sentence, Remedy.NEW_CERTIFICATE, chains=True)


# By the words of X509_verify_cert_error_string in OpenSSL 3.0.
VERIFY_ERRORS: Mapping[str, VerifyError] = {
    # The chain
    "unable to get issuer certificate": _chain(2, "nginx has not loaded the CA above one of its CAs", Remedy.SITE),
    "unable to decrypt certificate's signature": _chain(4, "its signature cannot be read"),
    "unable to decode issuer public key": _chain(6, "the key of a CA above it cannot be read", Remedy.CA),
    "certificate signature failure": _chain(7, "its signature was not made with the key of the CA that it names"),
    "self-signed certificate": _chain(18, "it is signed with its own key, and no CA issued it"),
    "self-signed certificate in certificate chain": _chain(19, "its chain ends in a root that nginx has not loaded"),
    "unable to get local issuer certificate": _chain(
        20, "no CA that nginx has loaded has the name and the key (authorityKeyIdentifier) of the one that issued it"
    ),
    "unable to verify the first certificate": _chain(21, "no CA that nginx has loaded issued it"),
    "certificate chain too long": _chain(22, "there are more CAs above it than ssl_verify_depth allows", Remedy.SITE),
    "issuer certificate doesn't have a public key": _chain(24, "the CA that issued it has no public key", Remedy.CA),
    "path length constraint exceeded": VerifyError(
        25, "there are more CAs below a CA above it than its pathlen allows", Remedy.CA, chains=True
    ),
    "certificate not trusted": _chain(27, "the CA at the end of its chain is not trusted for TLS clients", Remedy.SITE),
    "certificate rejected": _chain(28, "the CA at the end of its chain is marked as rejected", Remedy.SITE),
    "key usage does not include certificate signing": _chain(
        32, "the key usage of the CA that issued it does not include keyCertSign", Remedy.CA
    ),
    "invalid CA certificate": _chain(79, "what issued it is not a CA (basicConstraints)", Remedy.CA),
    # CRLs
    # Also the last word on strangers whose chain is complete: a CRL of their CA is not there either.
    "unable to get certificate CRL": VerifyError(
        3,
        "no CRL that nginx has loaded covers it: its CA has none there, or one of another scope"
        " (issuingDistributionPoint) or of another key (authorityKeyIdentifier)",
        Remedy.COMPLETE_CRL,
        _NO_CA,
        chains=True,
        by_crl=True,
    ),
    "unable to decrypt CRL's signature": _crl(5, "the signature of a CRL cannot be read"),
    "CRL signature failure": _crl(8, "a CRL was not signed with the key of the CA that it names"),
    "CRL is not yet valid": _crl(11, "by the host's clock a CRL is not yet valid", Remedy.CLOCK, "clock"),
    "CRL has expired": _crl(12, "by the host's clock a CRL has expired", Remedy.NEW_CRL, "crl_expired", "clock"),
    "certificate revoked": _crl(
        23, "the CRL that nginx has loaded lists it, or a CA above it, as revoked", Remedy.RELOAD, "revoked"
    ),
    "format error in CRL's lastUpdate field": _crl(15, "the date from which a CRL is valid cannot be read"),
    "format error in CRL's nextUpdate field": _crl(16, "the date until which a CRL is valid cannot be read"),
    "unable to get CRL issuer certificate": _crl(33, "a CRL is signed by a CA that nginx has not loaded"),
    "key usage does not include CRL signing": _crl(
        35, "the key usage of the CA that signed a CRL does not include cRLSign", Remedy.CA
    ),
    "unhandled critical CRL extension": _crl(36, "a CRL has a critical extension that OpenSSL does not process"),
    "different CRL scope": _crl(
        44, "no CRL covers it: the scope of its CA's CRL (issuingDistributionPoint) is another one"
    ),
    "CRL path validation error": _crl(54, "the chain of a CRL's signer cannot be verified"),
    # Dates
    "certificate is not yet valid": VerifyError(
        9,
        "by the host's clock it, or a CA above it, is not yet valid",
        Remedy.DATES,
        frozenset({"not_yet_valid", "clock"}),
        chains=True,
    ),
    "certificate has expired": VerifyError(
        10,
        "by the host's clock it, or a CA above it, has expired",
        Remedy.DATES,
        frozenset({"expired", "authority_expired", "clock"}),
        chains=True,
    ),
    "format error in certificate's notBefore field": _other(13, "the date from which it is valid cannot be read"),
    "format error in certificate's notAfter field": _other(14, "the date until which it is valid cannot be read"),
    # What its extensions say
    "unhandled critical extension": _other(
        34, "it, or a CA above it, has a critical extension that OpenSSL does not process"
    ),
    "proxy certificates not allowed, please set the appropriate flag": _other(
        40, "it is a proxy certificate (proxyCertInfo), and nginx takes none"
    ),
    "invalid or inconsistent certificate extension": _other(41, "an extension of it, or of a CA above it, is damaged"),
    "RFC 3779 resource not subset of parent's resources": _other(
        46, "it names IP addresses or AS numbers that the CA above it may not give away (RFC 3779)"
    ),
    "name constraints minimum and maximum not supported": _other(
        49, "the nameConstraints of a CA above it have a minimum or maximum, which OpenSSL does not process"
    ),
    "unsupported name constraint type": _other(
        51, "the nameConstraints of a CA above it are of a type that OpenSSL does not process"
    ),
    "unsupported or invalid name constraint syntax": _other(52, "the nameConstraints of a CA above it are damaged"),
    "unsupported or invalid name syntax": _other(
        53, "a name in it cannot be held against the nameConstraints of a CA above it"
    ),
    # The machine's own
    "out of memory": VerifyError(17, "nginx had no memory left to verify it", Remedy.RELOAD, chains=True),
    "unspecified certificate verification error": VerifyError(
        1, "OpenSSL failed and did not say why", Remedy.RELOAD, chains=True
    ),
    # Purpose and strength
    "unsuitable certificate purpose": _certificate(
        26, "it, or a CA above it, is not meant for TLS clients (extendedKeyUsage, keyUsage)", "not_for_clients"
    ),
    "permitted subtree violation": VerifyError(
        47,
        "its subject or a name in it is outside the name constraints of a CA above it, which OpenSSL also holds against"
        " a CN that looks like a host name",
        Remedy.NAME,
    ),
    "excluded subtree violation": VerifyError(
        48, "its subject or a name in it is excluded by the name constraints of a CA above it", Remedy.NAME
    ),
    "EE certificate key too weak": _certificate(66, "its key is too short for nginx's OpenSSL, as RSA-1024 is", "weak"),
    "CA certificate key too weak": VerifyError(
        67, "the key of a CA above it is too short for nginx's OpenSSL, as RSA-1024 is", Remedy.CA
    ),
    "CA signature digest algorithm too weak": _certificate(
        68, "it, or a CA above it, is signed with a digest that is too weak for nginx's OpenSSL, as SHA-1 is", "weak"
    ),
}

# The same in the words of OpenSSL 1.1.1 and 3.6.
_OTHER_WORDS = {
    "certificate is not yet valid or the system clock is incorrect": "certificate is not yet valid",
    "self signed certificate": "self-signed certificate",
    "self signed certificate in certificate chain": "self-signed certificate in certificate chain",
    "unsupported certificate purpose": "unsuitable certificate purpose",
    "invalid certificate verification context": "unspecified certificate verification error",
    "issuer certificate lookup error": "unspecified certificate verification error",
}


def words_of(verify: str) -> str | None:
    """Return OpenSSL's words in ``$ssl_client_verify`` (``FAILED:certificate revoked``), None where it is no error."""
    return verify[len(_PREFIX) :] if verify.startswith(_PREFIX) else None


def explain(words: str) -> VerifyError | None:
    """Return what these words of OpenSSL's mean, None for words that are not known here."""
    return VERIFY_ERRORS.get(_OTHER_WORDS.get(words, words))
