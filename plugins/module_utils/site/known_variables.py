# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables named ``mtls_…`` mean something: one that is misspelled would be ignored without a word."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Collection, Iterable

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import nearest

FROM_CONTROLLER, FROM_HOST, FROM_NOWHERE = PROBE_FROM = ("controller", "host", "none")
_BATCH = re.compile(r"\d+%?")
# What the playbooks read beside the roles' options: tests/unit/test_variables.py compares.
PLAYBOOKS = frozenset(
    {
        "mtls_batch",
        "mtls_hosts",
        "mtls_plan_file",
        "mtls_probe_address",
        "mtls_probe_from",
        "mtls_rollover_batch",
        "mtls_rollover_clients",
        "mtls_rollover_days",
        "mtls_rollover_dir",
        "mtls_rollover_force",
        "mtls_rollover_quiet_days",
        "mtls_rollover_subject",
        "mtls_status_dir",
        "mtls_status_live",
        "mtls_status_textfile_dir",
        "mtls_warn_days",
    }
)
# What one run is told: in the inventory it would hold for all of them, and is rather something else misspelled.
ONE_RUN = frozenset(
    {"mtls_certificate", "mtls_client", "mtls_recover_confirm", "mtls_revoke", "mtls_service", "mtls_step"}
)


def refuse_unknown(host: str, names: Iterable[str], options: Collection[str], extra: Collection[str]) -> None:
    """Refuse variables of a host that begin with ``mtls_`` and that nothing reads.

    :arg names: all variables of the host.
    :arg options: the roles' options.
    :arg extra: what the command line sets (``-e``).
    :raises MtlsError: names the first one, and what may have been meant.
    """
    lasting = {*options, *PLAYBOOKS} - ONE_RUN
    for name in sorted(names):
        if not name.startswith("mtls_") or name.startswith("mtls__") or name in lasting:
            continue
        meant = nearest(name, lasting)
        guess = f"; did you mean {meant}?" if meant else ""
        if name not in ONE_RUN:
            raise MtlsError(
                f"host {host}: there is no variable {name}{guess or ';'} docs/variables.md lists all of them, and "
                "variables of your own need another prefix than mtls_"
            )
        if name not in extra:
            raise MtlsError(
                f"host {host}: {name} is for one run (-e {name}=...) and does nothing in the inventory{guess}"
            )


def check_probe_from(host: str, value: t.Any, hosts: Collection[str]) -> None:
    """Refuse a place from which no service can be asked.

    :arg value: a host's ``mtls_probe_from``, None where it is not set.
    :arg hosts: all hosts of the inventory.
    :raises MtlsError: it is neither in ``PROBE_FROM`` nor a host.
    """
    if value is None or value in PROBE_FROM or value in hosts:
        return
    meant = nearest(str(value), [*PROBE_FROM, *hosts])
    guess = f", which is not a host of the inventory; did you mean {meant}?" if meant else ";"
    raise MtlsError(
        f"host {host}: mtls_probe_from is {value!r}{guess} write controller, host (the host itself), none, or the name"
        " of another host in the inventory; no host is sent a client's key"
    )


def check_batch(host: str, value: t.Any) -> None:
    """Refuse what Ansible's ``serial`` does not understand: it would break off with a traceback, between two plays.

    :arg value: a host's ``mtls_batch``, None where it is not set.
    :raises MtlsError: it is neither a number or percentage nor a list of these.
    """
    items = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    for item in items:
        if isinstance(item, bool) or not _BATCH.fullmatch(str(item)):
            raise MtlsError(
                f"host {host}: mtls_batch has {item!r}, which is neither a number of hosts nor a percentage of them;"
                " write 5, 25%, or [1, 5, 25%]"
            )
