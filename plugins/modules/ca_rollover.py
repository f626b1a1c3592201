# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: replace an authority by its successor, step by step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_rollover
short_description: Replace a certificate authority without any client losing access
version_added: "0.1.0"
description:
  - Takes one step of a rollover. The playbook C(mtls.nginx.rollover) takes them in order and applies each to the hosts.
  - With O(step=begin) the next authority is created in C(next/) of the old one's directory, and the hosts trust both.
    It may have the same subject.
  - With O(step=report) nothing is changed. The result says which clients still need the old authority.
  - With O(step=finish) the next authority replaces the old one, which is moved with all its files to
    C(former/<SERIAL of its certificate>/). It is refused while a client would be locked out.
options:
  ca_path:
    description: The directory of the old authority. Its key must be in it.
    type: path
    required: true
  step:
    description: What to do.
    type: str
    choices: [begin, report, finish]
    required: true
  subject:
    description: The subject of the next authority, for O(step=begin), as for M(mtls.nginx.ca_init).
    type: dict
  passphrase:
    description: The passphrase of the next authority's private key.
    type: str
  key_type:
    description: The type of the next authority's private key.
    type: str
    choices: [rsa, ecdsa, ed25519]
    default: rsa
  key_size:
    description: The size of an RSA key in bits, at least 2048.
    type: int
    default: 4096
  curve:
    description: The curve of an ECDSA key.
    type: str
    choices: [P-256, P-384]
    default: P-256
  days:
    description: For how many days the next authority's certificate is valid.
    type: int
    default: 3650
  crl_days:
    description: For how many days its first CRL is valid.
    type: int
    default: 30
  clients:
    description: The names of the clients that must keep their access.
    type: list
    elements: str
    default: []
  seen:
    description: The certificates that the hosts have seen, as M(mtls.nginx.access_log) returns them.
    type: list
    elements: dict
    default: []
  unknown:
    description: Hosts with services of the authority that did not report which certificates they have seen.
    type: list
    elements: str
    default: []
  quiet_days:
    description: How many days without any certificate of the old authority O(step=finish) asks for.
    type: int
    default: 7
  force:
    description: Finish although certificates of the old authority are still seen, or hosts are O(unknown). Each client
      must have a new one all the same.
    type: bool
    default: false
extends_documentation_fragment:
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
seealso:
  - module: mtls.nginx.ca_init
  - module: mtls.nginx.access_log
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Create the next authority beside the old one
  mtls.nginx.ca_rollover:
    ca_path: "{{ inventory_dir }}/pki"
    step: begin
    subject: {O: Acme, CN: Acme Root CA 2036}
    passphrase: "{{ vault_mtls_ca_passphrase }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
next:
  description: The directory of the next authority.
  returned: success
  type: str
  sample: /srv/inventory/pki/next
former:
  description: Where the old authority is now, with O(step=finish).
  returned: when it has changed something
  type: str
  sample: /srv/inventory/pki/former/5A3F1D0C4B9E8877665544332211009988776655
moved:
  description: How many of O(clients) have a certificate of the next authority.
  returned: with O(step=report) and O(step=finish)
  type: int
  sample: 40
not_moved:
  description: Those that have none.
  returned: with O(step=report) and O(step=finish)
  type: list
  elements: str
  sample: [old-tablet]
still_old:
  description: Certificates of the old authority that the hosts have seen, those seen last first.
  returned: with O(step=report) and O(step=finish)
  type: list
  elements: dict
  contains:
    client:
      description: The client.
      type: str
      sample: iphone-admin
    host:
      description: The host.
      type: str
      sample: nas
    service:
      description: The service.
      type: str
      sample: photos
    serial:
      description: The serial number of the certificate.
      type: str
      sample: "1003"
    last:
      description: When it was last seen.
      type: str
      sample: "2026-11-23T14:39:00Z"
summary:
  description: The same in words, one item a line.
  returned: with O(step=report)
  type: list
  elements: str
  sample: ["40 of 41 clients have a certificate of CN=Acme Root CA 2036", "without one: old-tablet"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import rollover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, times

_NOT_SHOWN = "check mode cannot show that host by host, since nothing is in its place yet"
SPEC = {
    "argument_spec": {
        "ca_path": {"type": "path", "required": True},
        "step": {"type": "str", "choices": ["begin", "report", "finish"], "required": True},
        "subject": {"type": "dict"},
        "passphrase": {"type": "str", "no_log": True},
        "key_type": {"type": "str", "choices": ["rsa", "ecdsa", "ed25519"], "default": "rsa"},
        "key_size": {"type": "int", "default": 4096, "no_log": False},
        "curve": {"type": "str", "choices": list(keys.CURVES), "default": "P-256"},
        "days": {"type": "int", "default": 3650},
        "crl_days": {"type": "int", "default": 30},
        "clients": {"type": "list", "elements": "str", "default": []},
        "seen": {"type": "list", "elements": "dict", "default": []},
        "unknown": {"type": "list", "elements": "str", "default": []},
        "quiet_days": {"type": "int", "default": 7},
        "force": {"type": "bool", "default": False},
    },
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
    return {"begin": _begin, "report": _report, "finish": _finish}[call.params["step"]](call)


def _begin(call: entry.Call) -> dict[str, Any]:
    options = call.params
    entry.check_at_least_one(options, "days", "crl_days")
    outcome = rollover.begin(
        WantedAuthority(
            path=options["ca_path"],
            subject=options["subject"],
            key=keys.KeyKind(options["key_type"], options["key_size"], options["curve"]),
            passphrase=options["passphrase"] or None,
            days=options["days"],
            crl_days=options["crl_days"],
        ),
        check=call.check_mode,
    )
    for warning in outcome.warnings:
        call.warn(warning)
    following = handover.next_path(options["ca_path"])
    if call.check_mode and outcome.added:
        call.warn(f"{following}: each host would trust both, and have the CRLs of both; {_NOT_SHOWN}")
    return {
        "changed": bool(outcome.added),
        "next": following,
        "diff": {"before": "", "after": "".join(f"{following}/{name}\n" for name in outcome.added)},
    }


def _report(call: entry.Call) -> dict[str, Any]:
    found = _found(call)
    return {
        "changed": False,
        **_describe(call.params["ca_path"], found),
        "summary": rollover.summary(found, call.params["unknown"]),
    }


def _finish(call: entry.Call) -> dict[str, Any]:
    options = call.params
    path = options["ca_path"]
    handover.refuse_interrupted(path) if call.check_mode else handover.complete_interrupted(path)
    found = _found(call)
    force = options["force"]
    unknown = [] if force else options["unknown"]
    rollover.check_finishable(path, found, quiet_days=0 if force else options["quiet_days"], unknown=unknown)
    result = {
        "changed": True,
        **_describe(path, found),
        "diff": {
            "before": f"{path}: {rollover.describe(found.old)}\n",
            "after": f"{path}: {rollover.describe(found.new)}\n",
        },
    }
    if not call.check_mode:
        return {**result, "former": rollover.finish(path)}
    alone = "each host would trust this one alone, which would issue its server certificates"
    call.warn(f"{handover.next_path(path)}: {alone}; {_NOT_SHOWN}")
    return result


def _found(call: entry.Call) -> rollover.Report:
    options = call.params
    return rollover.report(options["ca_path"], options["clients"], rollover.sightings_of(options["seen"]))


def _describe(path: str, found: rollover.Report) -> dict[str, Any]:
    return {
        "next": handover.next_path(path),
        "moved": len(found.moved),
        "not_moved": list(found.not_moved),
        "still_old": [
            {
                "client": name,
                "host": sighting.host,
                "service": sighting.service,
                "serial": sighting.serial,
                "last": times.iso(sighting.last),
            }
            for name, sighting in found.still_old
        ],
    }


if __name__ == "__main__":
    main()
