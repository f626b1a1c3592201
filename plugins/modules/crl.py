# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: revoke certificates, and write the CRL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: crl
short_description: Revoke certificates, and keep the certificate revocation list current
version_added: "0.1.0"
description:
  - Revokes certificates by name, serial, fingerprint or file, or releases them from a hold.
  - Writes C(crl.pem) when needed.
  - A new CRL is written when C(index.txt) lists other certificates as revoked than the current one, whoever revoked
    them, or when the current one is about to expire. Its number is taken from C(crlnumber).
  - Each CRL is checked for what nginx does not check (issuer, signature, dates) before it is published.
options:
  days:
    description: For how many days a new CRL is valid. When a CRL expires, nginx refuses every client.
    type: int
    default: 30
  refresh_before:
    description: A CRL that expires within this many days is replaced. Must be less than O(days).
    type: int
    default: 7
  prune:
    description:
      - Whether expired certificates are left out of a new CRL. They stay in C(index.txt), and nginx refuses them as
        expired.
      - As RFC 5280 requires, each is on at least one CRL that was written after it expired. It is left out of the first
        one written when it has been expired for two days longer than a CRL is valid, see O(days).
      - A current CRL that still lists them is kept until the next one is due.
    type: bool
    default: true
  max_entries:
    description:
      - With this many certificates on the CRL or more, the module fails after it has recorded the revocations and
        written the CRL. Nothing is lost, but no host gets a CRL of that size unless you allow it here.
      - nginx hashes the whole CRL at each full handshake, about 0.11 ms for each 1,000 certificates. From 10,000 on a
        warning says how long that takes.
    type: int
    default: 100000
  parent_crl:
    description:
      - A file with the CRLs of the authorities above this one, in PEM. They become part of C(crl.pem), because hosts
        need one of every CA in the chain.
      - The newest one of each is kept.
    type: path
  parent_crl_warn_days:
    description: The module warns when a CRL of an authority above expires within this many days.
    type: int
    default: 30
  ignore_unknown:
    description: Skip items of O(revoked) that match no certificate of the authority.
    type: bool
    default: false
  present:
    description: The clients that the inventory wants to have a valid certificate, for RV(coming_back).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - mtls.nginx.authority
  - mtls.nginx.authority.backend
  - mtls.nginx.authority.parent
  - mtls.nginx.revoked
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
seealso:
  - module: mtls.nginx.client_cert
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Renew the CRL if it is due
  mtls.nginx.crl:
    ca_path: "{{ inventory_dir }}/pki"
    ca_passphrase: "{{ vault_mtls_ca_passphrase }}"
  delegate_to: localhost
  run_once: true

- name: Revoke by whatever is known about the lost devices
  mtls.nginx.crl:
    ca_path: /root/ca
    revoked:
      - serial: "1003"
        reason: keyCompromise
      - certificate: /root/old-phone.crt
      - name: laptop-work
        reason: keyCompromise
      - name: guest-tablet
        state: released
      - fingerprint: 6F:1D:2E:3C:4B:5A:69:78:87:96:A5:B4:C3:D2:E1:F0:0F:1E:2D:3C
  delegate_to: localhost
"""

RETURN = r"""
crl:
  description: The current CRL; V(null) in check mode when there is none yet.
  returned: success
  type: dict
  contains:
    number:
      description: The CRL number.
      type: int
      sample: 12
    last_update:
      description: Its thisUpdate, a day before it is signed, for hosts whose clocks are slow.
      type: str
      sample: "2026-11-23T14:29:00Z"
    next_update:
      description: When the CRL expires.
      type: str
      sample: "2026-12-23T14:39:00Z"
    entries:
      description: How many certificates it lists.
      type: int
      sample: 3
written_because:
  description: Why a new CRL was written, or would be in check mode; V(null) when the current one is kept.
  returned: success
  type: str
  sample: it does not list what index.txt says is revoked
revoked:
  description: The certificates that O(revoked) named, in that order.
  returned: success
  type: list
  elements: dict
  contains:
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    subject:
      description: The subject in the format of C(index.txt).
      type: str
      sample: /CN=old-phone
    client:
      description: The name of the client, or the CN.
      type: str
      sample: old-phone
    action:
      description: V(revoked) or V(released), or V(unchanged) if it was so before.
      type: str
      sample: revoked
coming_back:
  description:
    - Clients in RV(revoked) that are in O(present) too. The next run of M(mtls.nginx.client_cert) issues a new
      certificate to them.
  returned: success
  type: list
  elements: str
  sample: [old-phone]
coming_back_from_hold:
  description:
    - Those of RV(coming_back) that are only on hold. The next run of M(mtls.nginx.client_cert) releases them, and their
      certificates are valid again.
  returned: success
  type: list
  elements: str
  sample: []
meant:
  description: Names of clients that are much like what O(ignore_unknown) skipped.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority, require_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import revoking
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import AUTHORITY_OPTIONS, PARENT_OPTION
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

SPEC = {
    "argument_spec": {
        **AUTHORITY_OPTIONS,
        "days": {"type": "int", "default": 30},
        "refresh_before": {"type": "int", "default": 7},
        "prune": {"type": "bool", "default": True},
        "max_entries": {"type": "int", "default": 100_000},
        "parent": PARENT_OPTION,
        "parent_crl": {"type": "path"},
        "parent_crl_warn_days": {"type": "int", "default": 30},
        "revoked": revoking.ARGUMENTS,
        "ignore_unknown": {"type": "bool", "default": False},
        "present": {"type": "list", "elements": "str", "default": []},
    },
    "mutually_exclusive": [("parent", "parent_crl")],
    "supports_check_mode": True,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPEC)
    entry.run_module(module, lambda: work(module))


def work(call: entry.Call) -> dict[str, Any]:
    """Return the result of the module for the arguments of ``call``.

    :raises MtlsError: what was asked for cannot be done; the text says why.
    """
    entry.require_cryptography()
    options = call.params
    entry.check_at_least_one(options, "days", "max_entries")
    if options["refresh_before"] < 0:
        raise MtlsError(f"refresh_before: is {options['refresh_before']}; use 0 or more")
    if options["refresh_before"] >= options["days"]:
        raise MtlsError(
            f"refresh_before: {options['refresh_before']} days are not less than the {options['days']} days of a CRL, "
            "so every run would write a new one; use less"
        )
    if call.check_mode and not os.path.exists(os.path.join(options["ca_path"], "ca.crt")):
        due: str | None = "there is no authority yet"
        return {
            "changed": True,
            "crl": None,
            "written_because": due,
            "revoked": [],
            "coming_back": [],
            "coming_back_from_hold": [],
            "meant": [],
            "diff": {"before": _line(None), "after": f"a new CRL: {due}\n"},
        }
    if options["parent"] or options["parent_crl"]:
        require_directory(Access.of(options), "a CRL from above")
    with open_authority(Access.of(options), read_only=call.check_mode) as authority:
        found, meant = _find(authority, options)
        fresh = [item for item in found if item.action != revoking.UNCHANGED]
        before = authority.crl_state()
        due_above = _take_crls_above(authority, options, check=call.check_mode)
        if not call.check_mode:
            revoking.carry_out(authority, fresh)
        due = authority.crl_due(options["refresh_before"], prune=options["prune"])
        if fresh:
            due = f"certificates are {' and '.join(sorted({item.action for item in fresh}))}"
        due = due or due_above
        writes = due and not call.check_mode
        after = authority.write_crl(options["days"], prune=options["prune"]) if writes else before
        for warning in authority.warnings:
            call.warn(warning)
    coming_back = sorted({item.client for item in found if item.client in options["present"]})
    on_hold = {item.client for item in found if item.on_hold}
    for name in coming_back:
        call.warn(revoking.said_of_return(name, on_hold=name in on_hold))
    # Last of all: a revocation that was asked for is recorded in any case.
    entries = (after.entries if after else 0) + (_foreseen_entries(fresh) if call.check_mode else 0)
    if about_size := crls.check_size(entries, options["max_entries"], os.path.join(options["ca_path"], "crl.pem")):
        call.warn(about_size)
    return {
        "changed": bool(due),
        "crl": _describe(after),
        "written_because": due,
        "revoked": [
            {
                "serial": item.serial,
                "subject": item.subject,
                "client": item.client,
                "action": item.action,
            }
            for item in found
        ],
        "coming_back": coming_back,
        "coming_back_from_hold": sorted(on_hold.intersection(coming_back)),
        "meant": meant,
        "diff": {
            "before": _line(before),
            "after": (f"a new CRL: {due}\n" if due else _line(before))
            + "".join(f"{item.action}: {item.serial} {item.subject}\n" for item in fresh),
        },
    }


def _take_crls_above(authority: Authority, options: dict[str, Any], *, check: bool) -> str | None:
    """Give the authority the CRLs of those above it; in check mode return why one of them would be renewed."""
    pem = b""
    if options["parent"]:
        access = Access.of(options["parent"], prefix="")
        with open_authority(access, read_only=check) as parent:
            due = parent.crl_due(options["refresh_before"])
            if due and check:
                return f"{access.path}: {due}"
            if due:
                parent.write_crl(options["parent"]["crl_days"])
            authority.warnings += parent.warnings
            pem = parent.crl() or b""
        authority.take_crls(pem, access.path)
    elif options["parent_crl"]:
        with open(options["parent_crl"], "rb") as stream:
            pem = stream.read()
        authority.take_crls(pem, options["parent_crl"])
    if len(authority.chain) > 1:
        current = authority.crl() if authority.crl_state() else None
        known = crls.parse_crls((current or b"") + pem, authority.path) if current or pem else []
        warn_days = options["parent_crl_warn_days"]
        authority.warnings += crls.check_above(authority.chain, known, authority.path, warn_days)
    return None


def _find(authority: Authority, options: dict[str, Any]) -> tuple[list[revoking.Found], list[str]]:
    """Return each certificate that is to be revoked or released, once, and names that are like those skipped."""
    finder = revoking.Finder.of(authority)
    meant: list[str] = []
    found: dict[str, tuple[revoking.Found, revoking.RevocationRequest]] = {}
    for item in options["revoked"]:
        wanted = revoking.RevocationRequest.of(item)
        try:
            for each in finder.find(wanted):
                first = found.setdefault(each.serial, (each, wanted))
                if first[1].release != wanted.release:
                    raise MtlsError(f"serial {each.serial}: is both to be revoked and released; remove one of the two")
        except revoking.LostError as error:  # another authority will not have it either
            if not options["ignore_unknown"]:
                raise
            finder.warnings.append(str(error))
        except revoking.UnknownError as error:
            if finder.is_known_beside(wanted):
                continue
            if not options["ignore_unknown"]:
                raise
            meant += [error.meant] if error.meant else []
    authority.warnings += finder.warnings
    return [each for each, wanted in found.values()], meant


def _foreseen_entries(fresh: list[revoking.Found]) -> int:
    """Return by how many entries the CRL grows; what is released leaves it."""
    return sum(-1 if item.action == revoking.RELEASED else 1 for item in fresh)


def _describe(state: CrlState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "number": state.number,
        "last_update": times.iso(state.last_update),
        "next_update": times.iso(state.next_update),
        "entries": state.entries,
    }


def _line(state: CrlState | None) -> str:
    if state is None:
        return "no CRL\n"
    return f"CRL {state.number} until {times.iso(state.next_update)}, {state.entries} entries\n"


if __name__ == "__main__":
    main()
