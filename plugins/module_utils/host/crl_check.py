# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether CRLs that come from somewhere may take the place of those that a host has.

Where they come from proves nothing. The CAs that the host trusts already must have signed them, and they must cover
what the host's own CRLs cover, be newer, and be valid now.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.plugins.module_utils.host.certificates import HostCrl, Scope

_CRL, _CERTIFICATE = "X509 CRL", "CERTIFICATE"
_OPENSSL_SECONDS = 60
_KEPT = "what this host has stays"


def check(source: str, new: bytes, held: bytes, ca: bytes, now: float) -> bytes:
    """Return the CRLs in ``new`` (PEM, from ``source``) that may take the place of ``held``: ``held`` if it has them.

    ``ca`` are the CA certificates that the host trusts, ``now`` is the host's time in seconds since 1970.

    :raises MtlsError: they must not.
    """
    blocks, found = _read(source, new)
    for number, (crl, _scope) in enumerate(found):
        _check_dates(source, crl, now)
        if any(other.is_of_the_issuer_of(crl) for other, _known in found[:number]):
            raise MtlsError(f"{source}: has two CRLs of {crl.issuer}; {_KEPT}. Publish the newest only")
    _check_signatures(source, blocks, [crl for crl, _scope in found], ca)
    before = certificates.scopes(held)
    for crl, scope in found:
        _check_scope(source, crl, scope, [known for each, known in before if each.is_of_the_issuer_of(crl)])
    for crl, _scope in before:
        _check_newer(source, crl, [each for each, _known in found if each.is_of_the_issuer_of(crl)])
    # Whatever else is between them, or in another order: nobody on the way can have nginx reloaded for it.
    same = {crl.content for crl, _scope in found} == {crl.content for crl, _scope in before}
    return held if same else b"".join(blocks)


def no_longer_listed(new: bytes, held: bytes) -> list[str]:
    """Return the serials that ``held`` lists and ``new`` does not: of certificates that have expired since.

    Only the CA's signature and a higher number say so, see ``check``.
    """
    listed = {serial for _crl, serials in certificates.revoked(new) for serial in serials}
    return [serial for _crl, serials in certificates.revoked(held) for serial in serials if serial not in listed]


def _read(source: str, pem: bytes) -> tuple[list[bytes], list[tuple[HostCrl, Scope]]]:
    """Return the CRLs, each as PEM, and what they say; nginx would trust a certificate among them (its fact A5)."""
    try:
        blocks = certificates.pem_blocks(pem)
        if blocks and {kind for kind, _text in blocks} == {_CRL}:
            texts = [text for _kind, text in blocks]
            return texts, certificates.scopes(b"".join(texts))
    except (ValueError, IndexError, StopIteration):
        raise MtlsError(f"{source}: the CRL there is damaged or cut off; {_KEPT}. Publish it again") from None
    if foreign := sorted({kind for kind, _text in blocks} - {_CRL}):
        what = f"has a {foreign[0]} in it, and must contain CRLs only"
    else:
        what = "is a web page" if pem.lstrip()[:1] == b"<" else "is not a CRL in PEM"
    raise MtlsError(f"{source}: what is there {what}; {_KEPT}. Correct mtls_crl_url, or what is published there")


def _check_dates(source: str, crl: HostCrl, now: float) -> None:
    if crl.end is None:
        raise MtlsError(f"{source}: the CRL of {crl.issuer} has no end date; {_KEPT}")
    if crl.begin <= now < crl.end:
        return
    bound = f"is valid from {_iso(crl.begin)} on" if now < crl.begin else f"expired on {_iso(crl.end)}"
    raise MtlsError(
        f"{source}: the CRL of {crl.issuer} {bound}, and the clock of this host says {_iso(now)}; {_KEPT}. Set the"
        " clock if it is wrong (timedatectl set-ntp true); otherwise publish a new CRL (mtls.nginx.refresh_crl)"
    )


def _check_signatures(source: str, blocks: Sequence[bytes], crls: Sequence[HostCrl], ca: bytes) -> None:
    """Raise MtlsError unless a CA of the host signed each CRL, and each CA has signed one."""
    try:
        trusted = [text for kind, text in certificates.pem_blocks(ca) if kind == _CERTIFICATE]
    except ValueError:
        raise MtlsError("the CA certificates of this host are damaged; run mtls.nginx.site") from None
    signed: Mapping[int, list[bool]] = {number: [] for number in range(len(trusted))}
    with tempfile.TemporaryDirectory(prefix="mtls-crl-") as folder:
        path = os.path.join(folder, "ca.crt")
        for number, certificate in enumerate(trusted):
            # One at a time: OpenSSL takes the first CA of the issuer's name, and a renewed one may have another key.
            with open(path, "wb") as stream:
                stream.write(certificate)
            signed[number].extend(_is_signed(block, path) for block in blocks)
    for number, crl in enumerate(crls):
        if not any(verdicts[number] for verdicts in signed.values()):
            raise MtlsError(
                f"{source}: the CRL of {crl.issuer} was not signed by a CA that this host trusts; {_KEPT}. Correct"
                " mtls_crl_url; after a change of the CA, run mtls.nginx.site"
            )
    for number, verdicts in signed.items():
        if not any(verdicts):
            name = certificates.read(trusted[number]).certificates[0].subject
            raise MtlsError(
                f"{source}: there is no CRL of {name}, which this host trusts, and nginx would refuse every client;"
                f" {_KEPT}. Publish the CRLs of all CAs in one file"
            )


def _is_signed(crl: bytes, ca_file: str) -> bool:
    """Tell whether OpenSSL verifies a CRL with a CA certificate; openssl-crl(1). Old versions exit with 0 if not."""
    try:
        done = subprocess.run(
            ["openssl", "crl", "-noout", "-CAfile", ca_file],
            input=crl,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
            timeout=_OPENSSL_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise MtlsError(f"the program openssl, which checks the CRL, is missing; {_KEPT}. Install openssl") from None
    except subprocess.TimeoutExpired:
        raise MtlsError(f"openssl did not finish in time; {_KEPT}") from None
    return done.returncode == 0 and b"verify OK" in done.stdout.splitlines()


def _check_scope(source: str, crl: HostCrl, scope: Scope, before: Sequence[Scope]) -> None:
    name = f"{source}: the CRL of {crl.issuer}"
    if scope.delta:
        raise MtlsError(f"{name} is a delta CRL, which lists changes only; {_KEPT}. Publish the complete CRL")
    if scope.critical:
        raise MtlsError(f"{name} has a critical extension that nginx does not know; {_KEPT}")
    if scope.point not in ([known.point for known in before] or [b""]):
        raise MtlsError(
            f"{name} has another scope (issuingDistributionPoint) than the one on this host; {_KEPT}. Publish the"
            " complete CRL; the first one with another scope must be installed by mtls.nginx.site, which checks it"
        )


def _check_newer(source: str, held: HostCrl, new: Sequence[HostCrl]) -> None:
    """Raise MtlsError for a CRL that is older than the one on the host, or the same number with another content."""
    if not new or held.content in [crl.content for crl in new]:
        return
    for crl in new:
        # Of one without a number only the date can be compared: an old one must not pass for its lack of a number.
        numbered = crl.number is not None and held.number is not None
        age, before = (crl.number or 0, held.number or 0) if numbered else (crl.begin, held.begin)
        if age < before:
            raise MtlsError(
                f"{source}: has {_label(crl)} of {held.issuer}, and this host has {_label(held)}, which is newer;"
                f" {_KEPT}. Publish the new one: mtls.nginx.refresh_crl does, with mtls_crl_publish"
            )
        if age == before:
            raise MtlsError(
                f"{source}: has {_label(crl)} of {held.issuer} with another content than this host, under the same"
                f" number; {_KEPT}. Two copies of the authority's directory are in use: restore the newest"
            )


def _label(crl: HostCrl) -> str:
    return f"the CRL of {_iso(crl.begin)}" if crl.number is None else f"CRL {crl.number}"


def _iso(seconds: float) -> str:
    return times.iso(datetime.fromtimestamp(seconds, timezone.utc))
