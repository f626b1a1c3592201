# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host must not be given: another CA than its own, an older CRL, dates that its clock does not agree with.

The controller may have an old copy of the authority's directory, or none; the hosts have what it issued last. The
controller asks before it does anything, and the host checks again, just before its files are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.plugins.module_utils.host.certificates import Contents, HostCertificate, HostCrl

_BRING_FORWARD = (
    "restore the newest copy of that directory, or restore the revocations from the hosts' CRLs (ansible-playbook"
    " mtls.nginx.recover). Nothing was changed on the host"
)


@dataclass(frozen=True)
class KnownAuthority:
    """An authority as it is on the controller, in ``directory``, and where a host has its files."""

    directory: str
    ca: str
    crl: str
    certificates: bytes


@dataclass(frozen=True)
class Guard:
    """What the controller says of a transaction.

    ``host`` is its name for messages. ``clock`` is the controller's time in seconds since 1970, None if it was not
    given. ``forgettable`` are serials that need not be on a CRL any more.
    """

    host: str = "this host"
    clock: float | None = None
    authorities: Sequence[KnownAuthority] = ()
    replace_authority: bool = False
    forgettable: Collection[str] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Guard:
        """Return what the option ``guard`` of ``nginx_config`` says."""
        authorities = [
            KnownAuthority(**{**each, "certificates": each["certificates"].encode()}) for each in options["authorities"]
        ]
        return cls(**{**options, "authorities": authorities})


def refuse(guard: Guard, new: Mapping[str, bytes], now: float, read: Callable[[str], bytes | None]) -> None:
    """Raise MtlsError where the files ``new``, by path, would set the host back.

    ``now`` is the host's time in seconds since 1970; ``read`` returns what is in a file.
    """
    by_crl = {authority.crl: authority for authority in guard.authorities}
    dated: dict[str, bytes] = {}
    for authority in guard.authorities:
        held, ours = read(authority.ca), certificates.read(authority.certificates).certificates
        if held is not None and not guard.replace_authority:
            refuse_another(guard.host, authority.ca, certificates.read(held).certificates, authority.directory, ours)
        dated[authority.ca] = authority.certificates
    for path, content in new.items():
        if not certificates.has_crl(content):
            continue
        dated[path] = content
        held = read(path)
        if held is None:
            continue
        source = by_crl[path].directory if path in by_crl else "the new file"
        refuse_older(guard.host, path, certificates.read(held).crls, source, certificates.read(content).crls)
        _refuse_forgotten(guard, path, held, source, content)
    refuse_clock(guard.host, now, guard.clock, {path: certificates.read(content) for path, content in dated.items()})


def refuse_another(
    host: str, path: str, held: Sequence[HostCertificate], directory: str, ours: Sequence[HostCertificate] | None
) -> None:
    """Raise MtlsError where a host trusts CAs, and none of them is ours; ``ours`` is None where there is no authority.

    A CA that was renewed has the same key. During a rollover, one of the two CAs is enough.
    """
    if not held or {ca.key for ca in held} & {ca.key for ca in ours or ()}:
        return
    here = (
        f"there is no authority in {directory}: a new one would lock out"
        if ours is None
        else f"the authority in {directory} is {_named(ours)}, another CA: it would lock out"
    )
    raise MtlsError(
        f"{host} trusts {_named(held)}, in {path}, and {here} every client that has a certificate today. If it is"
        " the wrong one or was lost, restore that directory, or correct mtls_ca_dir. To change from one CA to another,"
        " use the playbook mtls.nginx.rollover. Only if nobody needs the old CA any more, set mtls_replace_authority to"
        " true for one run. Nothing was changed on the host"
    )


def refuse_older(host: str, path: str, held: Sequence[HostCrl], source: str, ours: Sequence[HostCrl]) -> None:
    """Raise MtlsError where a CRL of ``ours`` is older than the one by the same CA that a host has.

    Of several by one CA the newest counts, as it does for nginx.
    """
    for one in held:
        before, after = _newest(one, held), _newest(one, ours)
        if after is None or before is None or before.content == after.content:
            continue
        if before.number is None or after.number is None:
            known, given = before.begin, after.begin
            if known == given:
                continue
        else:
            known, given = before.number, after.number
        if known == given:
            raise MtlsError(
                f"{host} has {_label(before)} of {before.issuer} in {path}, and {source} has {_label(after)} with"
                " another content under the same number: it is an older copy, or two copies of it are in use. Whoever"
                f" was revoked elsewhere would get in again; {_BRING_FORWARD}"
            )
        if given < known:
            raise MtlsError(
                f"{host} has {_label(before)} of {before.issuer} in {path}, and {source} has {_label(after)}, which is"
                f" older: whoever was revoked in between would get in again; {_BRING_FORWARD}"
            )


def _refuse_forgotten(guard: Guard, path: str, held: bytes, source: str, content: bytes) -> None:
    """Raise MtlsError where a newer CRL lacks what the host's CRL lists for good. A hold may have been released.

    Its ``result`` has these serials as ``forgotten``, each with its issuer: the controller may know that they have
    expired.
    """
    new = certificates.revoked(content)
    forgotten: dict[str, str] = {}
    for crl, serials in certificates.revoked(held):
        listed = [entries for each, entries in new if each.is_of_the_issuer_of(crl)]
        if listed:
            still = set().union(*listed)
            gone = (serial for serial, on_hold in serials.items() if not on_hold and serial not in still)
            forgotten.update({serial: crl.issuer for serial in gone if serial not in guard.forgettable})
    if forgotten:
        raise MtlsError(
            f"{guard.host} has a CRL in {path} that lists {first_few(forgotten)} as revoked, and the CRL of {source}"
            " does not, although they have not expired: it is an older copy. They would get in again;"
            f" {_BRING_FORWARD}",
            {"forgotten": forgotten},
        )


def refuse_clock(host: str, there: float, here: float | None, files: Mapping[str, Contents]) -> None:
    """Raise MtlsError where CAs or CRLs are not valid at the host's time ``there`` (seconds since 1970).

    ``here`` is the controller's time, None if it is unknown. What is not valid then either is not the clock's fault.
    """
    for path, contents in files.items():
        dated: tuple[HostCertificate | HostCrl, ...] = (*contents.certificates, *contents.crls)
        for each in dated:
            if _is_good(each, there) or (here is not None and not _is_good(each, here)):
                continue
            what = "the CRL" if isinstance(each, HostCrl) else "the CA certificate"
            early = there < each.begin
            bound = f"is not valid before {_iso(each.begin)}" if early else f"has expired, on {_iso(each.end or 0)}"
            raise MtlsError(
                f"the clock of {host} says {_iso(there)}{_compared(there, here)}. By that clock {what} in {path}"
                f" {bound}, and nginx would refuse every client; set the clock that is wrong (timedatectl set-ntp true)"
                " and run again. Nothing was changed on the host"
            )


def clock_warning(host: str, offset: float) -> str | None:
    """Return the warning about a clock that is ``offset`` seconds ahead, or None."""
    if abs(offset) <= times.CLOCK_SKEW.total_seconds():
        return None
    direction, meaning = (
        ("behind", "what is issued now is not valid there for as long")
        if offset < 0
        else ("ahead of", "certificates and the CRL expire there so much earlier")
    )
    return (
        f"the clock of {host} is {times.distance(timedelta(seconds=offset))} {direction} that of the controller, so"
        f" that {meaning}; set the clock that is wrong (timedatectl set-ntp true)"
    )


def _is_good(each: HostCertificate | HostCrl, moment: float) -> bool:
    return each.begin <= moment and (each.end is None or moment < each.end)


def _compared(there: float, here: float | None) -> str:
    if here is None:
        return ""
    direction = "behind" if there < here else "ahead of"
    return f", {times.distance(timedelta(seconds=there - here))} {direction} that of the controller"


def _newest(by: HostCrl, crls: Sequence[HostCrl]) -> HostCrl | None:
    """Return the newest of the CRLs that the issuer of ``by`` signed."""
    same = [crl for crl in crls if crl.is_of_the_issuer_of(by)]
    return max(same, key=lambda crl: (crl.number if crl.number is not None else -1, crl.begin), default=None)


def _label(crl: HostCrl) -> str:
    return f"the CRL of {_iso(crl.begin)}" if crl.number is None else f"CRL {crl.number}"


def _named(cas: Sequence[HostCertificate]) -> str:
    return " and ".join(f"{ca.subject} (SHA-256 {_colons(ca.fingerprint)})" for ca in cas)


def _colons(digest: str) -> str:
    return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2)).upper()


def _iso(seconds: float) -> str:
    return times.iso(datetime.fromtimestamp(seconds, timezone.utc))
