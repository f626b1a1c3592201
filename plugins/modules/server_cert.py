# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: issue the services' server certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server_cert
short_description: Issue and renew the services' server certificates
version_added: "0.1.0"
description:
  - Takes all services of all hosts in one call, and issues or renews certificates as needed.
  - Key and certificate are C(servers/<host>/<name>.key) and C(servers/<host>/<name>.crt) in the authority's directory.
    The certificate is followed by the intermediate authorities, if there are any.
  - The certificates are for servers only. None of them is accepted as a client certificate.
options:
  servers:
    description: The services, all of them in one list.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The host's name in the inventory.
        type: str
        required: true
      name:
        description: The service's name.
        type: str
        required: true
      server_names:
        description:
          - DNS names, also with V(*.) in front, and IP addresses. The first one that fits is the CN.
          - When they change, a new certificate is issued for the same key.
        type: list
        elements: str
        required: true
      key_type:
        description:
          - The type of a new private key.
          - Left out, an existing key is kept and a new one is of O(key_type).
        type: str
        choices: [rsa, ecdsa]
      days:
        description: For how many days the certificate is issued. Defaults to O(days).
        type: int
      renew_before:
        description: The certificate is renewed when it expires within this many days. Defaults to O(renew_before).
        type: int
      stands_in:
        description:
          - The service has a certificate of the host's own, and this one is served only until that one is there. Where
            the authority cannot issue it, the service goes without.
        type: bool
        default: false
  days:
    description: For how many days certificates are issued. They must expire before the authority's own.
    type: int
    default: 365
  renew_before:
    description: A certificate is renewed when it expires within this many days.
    type: int
    default: 30
  key_type:
    description: The type of new private keys, ECDSA on P-256 or RSA with 2048 bits.
    type: str
    choices: [rsa, ecdsa]
    default: ecdsa
  crl_distribution_point:
    description:
      - The address of the CRL in DER, C(http) or C(https), that new certificates name. Existing ones stay as they are
        until they are renewed.
      - For the backends V(directory) and V(pkcs11); an OpenBao server has a setting of its own for it.
    type: str
extends_documentation_fragment:
  - mtls.nginx.authority
  - mtls.nginx.authority.backend
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
  - mtls.nginx.revoked
seealso:
  - module: mtls.nginx.ca_init
  - module: mtls.nginx.client_cert
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Issue the services' server certificates
  mtls.nginx.server_cert:
    ca_path: "{{ inventory_dir }}/pki"
    ca_passphrase: "{{ vault_mtls_ca_passphrase }}"
    servers:
      - host: nas
        name: nas
        server_names: [secure.example.com, 192.0.2.10]
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
servers:
  description: One element for each of O(servers), in that order.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host.
      type: str
      sample: nas
    name:
      description: The service.
      type: str
      sample: nas
    action:
      description: What was done, V(issued), V(renewed) or V(unchanged).
      type: str
      sample: issued
    reason_for_action:
      description: Why it was done; empty when nothing was.
      type: str
      sample: the server names changed
    serial:
      description: The serial number. V(null) in check mode when a certificate would be issued.
      type: str
      sample: 5A3F1D0C4B9E8877665544332211009988776655
    dn:
      description: The subject in nginx's DN format.
      type: str
      sample: CN=secure.example.com
    fingerprint:
      description: The SHA-1 fingerprint, as nginx writes fingerprints.
      type: str
      sample: 6f1d2e3c4b5a69788796a5b4c3d2e1f00f1e2d3c
    not_after:
      description: When the certificate expires.
      type: str
      sample: "2027-11-23T14:39:00Z"
    certificate:
      description: The path of the certificate on the controller.
      type: str
      sample: /srv/inventory/pki/servers/nas/nas.crt
    key:
      description: The path of the private key on the controller.
      type: str
      sample: /srv/inventory/pki/servers/nas/nas.key
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import (
    Access,
    open_authority,
    require_directory,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import revoking, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import AUTHORITY_OPTIONS
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry

SPEC = {
    "argument_spec": {
        **AUTHORITY_OPTIONS,
        "servers": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "host": {"type": "str", "required": True},
                "name": {"type": "str", "required": True},
                "server_names": {"type": "list", "elements": "str", "required": True},
                "key_type": {"type": "str", "choices": ["rsa", "ecdsa"]},
                "days": {"type": "int"},
                "renew_before": {"type": "int"},
                "stands_in": {"type": "bool", "default": False},
            },
        },
        "days": {"type": "int", "default": 365},
        "renew_before": {"type": "int", "default": 30},
        "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "ecdsa"},
        "crl_distribution_point": {"type": "str"},
        "revoked": revoking.ARGUMENTS,
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
    options = call.params
    if options["crl_distribution_point"]:
        require_directory(Access.of(options), "crl_distribution_point")
        profiles.check_crl_point(options["crl_distribution_point"])
    wanted = [_server(raw, options) for raw in options["servers"]]
    if call.check_mode and not os.path.exists(os.path.join(options["ca_path"], "ca.crt")):
        results = servers.foresee_first_run(wanted, os.path.join(options["ca_path"], "servers"))
    else:
        with open_authority(Access.of(options), read_only=call.check_mode) as authority:
            results = servers.reconcile(
                authority,
                wanted,
                new_key_type=options["key_type"],
                check=call.check_mode,
                revoking=revoking.planned(authority, options["revoked"]),
                crl_point=options["crl_distribution_point"],
            )
            for warning in authority.warnings:
                call.warn(warning)
    changed = [result for result in results if result.action != servers.UNCHANGED]
    return {
        "changed": bool(changed),
        "servers": [_describe(result) for result in results],
        "diff": {
            "before": "".join(_before(result) for result in changed),
            "after": "".join(f"{result.server.id}: {result.action} ({result.because})\n" for result in changed),
        },
    }


def _server(raw: dict[str, Any], options: dict[str, Any]) -> servers.Server:
    return servers.Server(
        host=raw["host"],
        name=raw["name"],
        names=tuple(name.lower() for name in dict.fromkeys(raw["server_names"])),
        key_type=raw["key_type"],
        days=options["days"] if raw["days"] is None else raw["days"],
        renew_before=options["renew_before"] if raw["renew_before"] is None else raw["renew_before"],
        stands_in=raw["stands_in"],
    )


def _describe(result: servers.ServerResult) -> dict[str, Any]:
    held = result.entry
    return {
        "host": result.server.host,
        "name": result.server.name,
        "action": result.action,
        "reason_for_action": result.because,
        "serial": held and held.serial,
        "dn": held and held.dn,
        "fingerprint": held and held.fingerprint,
        "not_after": held and held.not_after,
        "certificate": result.certificate,
        "key": result.key,
    }


def _before(result: servers.ServerResult) -> str:
    held = result.before
    if held is None:
        return f"{result.server.id}: no certificate\n"
    return f"{result.server.id}: certificate {held.serial} until {held.not_after}\n"


if __name__ == "__main__":
    main()
