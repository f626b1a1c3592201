# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which next certificates of clients a host hands out, and what its access logs say of them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence

from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import renewals
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

display = Display()


class RenewalOffers:
    """Those of one host.

    ``authorities`` are its authorities by ``Service.trust``: the directory, and the services that are present. ``ask``
    calls the module ``access_log`` on the host. In ``check`` mode nothing is noted.
    """

    def __init__(
        self,
        host: str,
        authorities: Mapping[str, tuple[str, Sequence[Service]]],
        log_dir: str,
        ask: Callable[[dict[str, t.Any]], dict[str, t.Any]],
        *,
        check: bool,
    ) -> None:
        self._host = host
        self._authorities = {
            trust: (path, services)
            for trust, (path, services) in authorities.items()
            if any(service.self_renewal for service in services)
        }
        self._log_dir = log_dir
        self._ask = ask
        self._check = check

    def offers(self, plans: Callable[[], Mapping[str, AuthorityPlan]]) -> dict[str, list[renewals.Offer]]:
        """Return them by ``Service.trust``; the access logs are asked first, where some may have been fetched.

        ``plans`` gives the inventory's, by authority: in check mode, what this run would renew is foreseen.

        :raises MtlsError: an authority's files cannot be read.
        """
        found = {}
        foreseen = plans() if self._check and self._authorities else {}
        for trust, path, listed, waiting in self._waiting():
            notes = self._heard_of(trust, path, waiting)
            found[trust] = renewals.offers(path, waiting, notes)
            self._save(notes)
            if path in foreseen:
                plan = foreseen[path]
                found[trust] += renewals.foreseen(path, listed, plan.clients, plan.settings["client_renew_before"])
            for warning in renewals.warnings(found[trust]):
                display.warning(warning)
        return found

    def still_there(self) -> list[renewals.Offer] | None:
        """Return what the host may go on handing out, None where that is not known: the CRL does not wait for it."""
        try:
            return [
                offer
                for _trust, path, _listed, waiting in self._waiting()
                for offer in renewals.offers(path, waiting, Notes(path))
            ]
        except (MtlsError, OSError) as error:
            display.warning(f"{self._host}: clients' next certificates were left as they are: {error}")
            return None

    def hear(self) -> None:
        """Note who has fetched a certificate, or uses it: after the CRL, which comes first."""
        try:
            for trust, path, _listed, waiting in self._waiting():
                self._save(self._heard_of(trust, path, waiting))
        except (MtlsError, OSError) as error:
            display.warning(f"{self._host}: who has fetched a certificate is not known: {error}")

    def _waiting(self) -> Iterator[tuple[str, str, AllowList | None, list[renewals.Renewal]]]:
        """Yield, for each ``Service.trust``, the authority, who may fetch here (None: every client), and what waits."""
        for trust, (path, services) in self._authorities.items():
            listed = renewals.entitled(services)
            yield trust, path, listed, renewals.pending(path, listed)

    def _heard_of(self, trust: str, path: str, waiting: Sequence[renewals.Renewal]) -> Notes:
        """Return the notes of an authority, with what the host's access logs say."""
        notes = Notes(path)
        logged = [service.name for service in self._authorities[trust][1] if not service.snippet]
        if not waiting or not logged:
            return notes
        days = (times.now() - min(renewal.since for renewal in waiting)).days + 1
        answer = self._ask({"services": logged, "host": self._host, "log_dir": self._log_dir, "days": days})
        if answer.get("failed"):
            display.warning(f"{self._host}: who has fetched a certificate is not known: {answer['msg']}")
        else:
            notes.note_callers({renewal.serial: renewal.follows for renewal in waiting}, answer["callers"])
        return notes

    def _save(self, notes: Notes) -> None:
        if self._check:
            return
        try:
            notes.save()
        except (MtlsError, OSError) as error:  # the next run reads the logs again
            display.warning(f"{self._host}: who has fetched a certificate was not noted: {error}")
