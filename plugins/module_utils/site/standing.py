# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the controller's authorities have come, against what a host has of them.

The host looks at the same once more before it changes anything: ``host/setback.py`` has the rules for both.
"""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates, comparison, setback
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import FILE_MODE
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths


@dataclass(frozen=True)
class Standing:
    """One authority of a host: its directory on the controller, and where on the host its files are.

    ``chain`` and ``crl`` are what the host is to have, None where there is none yet.
    """

    directory: str
    ca_path: str
    crl_path: str
    chain: bytes | None
    crl: bytes | None

    @classmethod
    def of(cls, conf_dir: str, trust: str, directory: str) -> Standing:
        """Return what is in ``directory`` now; ``trust`` is ``Service.trust``.

        :raises MtlsError: it cannot be read.
        """
        paths = TrustPaths.of(conf_dir, trust)
        if not os.path.exists(Layout(directory).certificate):
            return cls(directory, paths.ca, paths.crl, None, None)
        published = read_authority(directory)
        return cls(directory, paths.ca, paths.crl, published.chain(), published.crl_as_it_is())

    def explains(self, serial: str, issuer: str) -> bool:
        """Tell whether a certificate need not be on a CRL any more, as far as anybody here can know.

        Whoever keeps the record elsewhere never goes back with this directory, and a CA above has none here.
        """
        if not os.path.exists(Layout(self.directory).crl_number):
            return True
        issuing = chains.pem(chains.issuing(chains.read((self.chain or b"").decode())))
        if issuer not in (ca.subject for ca in certificates.read(issuing).certificates):
            return True
        entry = read_authority(self.directory).record.get(serial)
        return entry is not None and entry.not_after <= times.now()


def expected(standings: Sequence[Standing]) -> dict[str, str | None]:
    """Return what a host's files should be like: the option ``expected`` of ``nginx_facts``."""
    return {
        path: None if content is None else comparison.fingerprint(content, FILE_MODE)
        for standing in standings
        for path, content in ((standing.ca_path, standing.chain), (standing.crl_path, standing.crl))
    }


@dataclass(frozen=True)
class TrustAnswer:
    """What a host says of what it trusts; its clock is ahead by ``offset`` seconds, at least."""

    held: Mapping[str, certificates.Contents]
    offset: float

    @classmethod
    def of(cls, trust: Mapping[str, t.Any], before: float, after: float) -> TrustAnswer:
        """Read ``trust`` of what ``nginx_facts`` answers, asked between ``before`` and ``after`` by our clock.

        :raises MtlsError: it is no such answer.
        """
        try:
            held = {path: certificates.Contents.of(contents) for path, contents in trust["held"].items()}
            return cls(held, clock_offset(float(trust["clock"]), before, after))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise MtlsError(
                "the host does not say what it trusts as nginx_facts would; see what answers there"
            ) from None


def clock_offset(clock: float, before: float, after: float) -> float:
    """Return by how many seconds a clock is ahead at least that was read between ``before`` and ``after``."""
    return clock - before if clock < before else max(0.0, clock - after)


def check(
    host: str, answer: TrustAnswer, standings: Sequence[Standing], now: float, *, replace_authority: bool
) -> str | None:
    """Return a warning about the host's clock, or None; ``now`` is our time, in seconds since 1970.

    :raises MtlsError: the host trusts another CA, has a newer CRL, or its clock is so wrong that it would let nobody
        in.
    """
    name = f"host {host}"
    files = {}
    for standing in standings:
        ours = None if standing.chain is None else certificates.read(standing.chain)
        held_cas = answer.held.get(standing.ca_path, certificates.Contents()).certificates
        if not replace_authority:
            setback.refuse_another(
                name, standing.ca_path, held_cas, standing.directory, ours.certificates if ours else None
            )
        held_crls = answer.held.get(standing.crl_path, certificates.Contents()).crls
        if standing.crl is not None and (held_crls or answer.offset):
            contents = certificates.read(standing.crl)
            setback.refuse_older(name, standing.crl_path, held_crls, standing.directory, contents.crls)
            files[standing.crl_path] = contents
        if ours:
            files[standing.ca_path] = ours
    if not answer.offset:
        return None
    setback.refuse_clock(name, now + answer.offset, now, files)
    return setback.clock_warning(name, answer.offset)


def guard_options(host: str, standings: Sequence[Standing], now: float, *, replace_authority: bool) -> dict[str, t.Any]:
    """Return the option ``guard`` of ``nginx_config``."""
    return {
        "host": f"host {host}",
        "clock": now,
        "authorities": [
            {
                "directory": standing.directory,
                "ca": standing.ca_path,
                "crl": standing.crl_path,
                "certificates": standing.chain.decode(),
            }
            for standing in standings
            if standing.chain is not None
        ],
        "replace_authority": replace_authority,
    }


def may_forget(forgotten: Mapping[str, str], standings: Sequence[Standing]) -> bool:
    """Tell whether all these serials, each with its issuer, need not be on a CRL any more."""
    return all(all(standing.explains(serial, issuer) for standing in standings) for serial, issuer in forgotten.items())
