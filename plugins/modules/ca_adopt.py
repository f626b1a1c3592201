# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: adopt an authority made elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_adopt
short_description: Adopt a certificate authority made elsewhere
version_added: "0.1.0"
description:
  - Copies an authority into a new directory as M(mtls.nginx.ca_init) makes it. It may be a PKI of easy-rsa 3, a
    directory of C(openssl ca), a CA made with the modules of community.crypto or with any other tool that leaves PEM
    files, or a C(.p12) file.
  - Files are recognised by their content, not by name or place. Whatever looks like a part of an authority and is not
    used is in RV(not_taken). A file that is named in O(source) and yields nothing is an error.
  - The new record has all certificates of the authority that are found, and what C(index.txt) and the old CRL say of
    them. Serial numbers and CRL numbers continue from there. Without a record and a counter, serial numbers are random.
  - Certificates that neither a record nor a CRL knows count as valid, and are in RV(unrecorded).
  - The newest certificate of each client that is not revoked, and its key, become C(clients/<name>/), where the name is
    the CN.
  - The sources are never changed. Check mode shows what would be adopted.
  - A directory of C(openssl ca) need not be copied. M(mtls.nginx.ca_init) adopts it where it is.
options:
  path:
    description: The directory of the new authority. It must not exist, be empty, or be the one that was adopted before.
    type: path
    required: true
  source:
    description:
      - Directories and files on the controller with the parts of the authority. Directories are searched recursively.
      - For easy-rsa, its directory C(pki).
    type: list
    elements: path
    required: true
  certificate:
    description: The CA certificate to adopt, if O(source) has several CAs with their keys.
    type: path
  source_passphrase:
    description: The passphrase of the CA's private key, and of C(.p12) files.
    type: str
  passphrase:
    description:
      - The passphrase to encrypt the copy of the private key with.
      - Left out, O(source_passphrase) is used. Without either the key is stored unencrypted.
    type: str
  repair:
    description:
      - Reissue the CA certificate, if it is self-signed and nginx cannot work with it, as O(repair) of
        M(mtls.nginx.ca_init) does. The one of the source is kept as C(ca-<SERIAL>.crt).
    type: bool
    default: false
  revoked_folders:
    description:
      - Whether certificates in folders called C(revoked) count as revoked even if no record and no CRL says so.
    type: bool
    default: true
  crl_days:
    description: For how many days the first CRL is valid. Later ones are made by M(mtls.nginx.crl).
    type: int
    default: 30
extends_documentation_fragment:
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
seealso:
  - module: mtls.nginx.ca_init
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Adopt the PKI of easy-rsa
  mtls.nginx.ca_adopt:
    path: "{{ inventory_dir }}/pki"
    source: /etc/openvpn/easy-rsa/pki
    source_passphrase: "{{ vault_easyrsa_passphrase }}"
    passphrase: "{{ vault_mtls_ca_passphrase }}"
  delegate_to: localhost
  run_once: true

- name: Adopt a CA made with community.crypto, and the certificates that it has signed
  mtls.nginx.ca_adopt:
    path: "{{ inventory_dir }}/pki"
    source: [/srv/ca/ca.pem, /srv/ca/ca.key, /srv/certificates]
    passphrase: "{{ vault_mtls_ca_passphrase }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
ca:
  description: The subject of the authority in the spelling of nginx.
  returned: success
  type: str
  sample: CN=Easy-RSA CA
certificates:
  description: How many certificates are in the record.
  returned: success
  type: int
  sample: 12
revoked:
  description: How many of them are revoked.
  returned: success
  type: int
  sample: 2
clients:
  description: The clients whose files were adopted.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name, which is the CN.
      type: str
      sample: laptop
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    not_after:
      description: When the certificate expires.
      type: str
      sample: "2027-11-23T14:39:00Z"
    key:
      description: Whether the private key was found.
      type: bool
      sample: true
unrecorded:
  description: The files with certificates that count as valid because neither a record nor a CRL knows them.
  returned: success
  type: list
  elements: str
  sample: [/srv/certificates/phone.pem]
not_taken:
  description: Why files of the sources were not adopted, or only recorded, by path.
  returned: success
  type: dict
  sample:
    /etc/openvpn/easy-rsa/pki/private/laptop.key: the key is encrypted; decrypt it to have it taken over, or leave it
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import adoption, findings, survey
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, times

SPEC = {
    "argument_spec": {
        "path": {"type": "path", "required": True},
        "source": {"type": "list", "elements": "path", "required": True},
        "certificate": {"type": "path"},
        "source_passphrase": {"type": "str", "no_log": True},
        "passphrase": {"type": "str", "no_log": True},
        "repair": {"type": "bool", "default": False},
        "revoked_folders": {"type": "bool", "default": True},
        "crl_days": {"type": "int", "default": 30},
    },
    "supports_check_mode": True,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPEC)
    entry.run_module(module, lambda: work(module))


def work(call: entry.Call, tell: findings.Tell = findings.silent) -> dict[str, Any]:
    """Return the result of the module for the arguments of ``call``; ``tell`` is told how far it is.

    :raises MtlsError: what was asked for cannot be done; the text says why.
    """
    entry.require_cryptography()
    options = call.params
    entry.check_at_least_one(options, "crl_days")
    plan = adoption.adopt(
        survey.WantedAdoption(
            path=options["path"],
            sources=options["source"],
            certificate=options["certificate"],
            source_passphrase=options["source_passphrase"] or None,
            passphrase=options["passphrase"] or None,
            crl_days=options["crl_days"],
            repair=options["repair"],
            revoked_folders=options["revoked_folders"],
        ),
        check=call.check_mode,
        tell=tell,
    )
    for warning in plan.warnings:
        call.warn(warning)
    return {
        "changed": plan.changed,
        "ca": subjects.nginx_dn(plan.chain[0].subject),
        "certificates": len(plan.index),
        "revoked": sum(1 for serial in plan.index if not plan.index.is_valid(serial)),
        "clients": [_describe(client) for client in plan.clients],
        "not_taken": plan.not_taken,
        "unrecorded": plan.unrecorded,
        "diff": {"before": "", "after": _listing(plan) if plan.changed else ""},
    }


def _describe(client: survey.AdoptedClient) -> dict[str, Any]:
    return {
        "name": client.name,
        "serial": numbers.hexadecimal(client.certificate.serial_number),
        "not_after": times.iso(client.certificate.not_valid_after_utc),
        "key": client.key is not None,
    }


def _listing(plan: survey.AdoptionPlan) -> str:
    """Return what is adopted, and what is not, one item a line."""
    repaired = ", its certificate reissued with the same key and subject" if plan.former else ""
    lines = [f"authority {subjects.nginx_dn(plan.chain[0].subject)}{repaired}"]
    for recorded in filter(None, map(plan.index.get, plan.index)):
        revoked = f", revoked ({recorded.reason or 'unspecified'})" if recorded.revoked_at else ""
        lines.append(f"certificate {recorded.serial} {recorded.subject}{revoked}")
    for client in plan.clients:
        key = "with its key" if client.key is not None else "without a key"
        lines.append(f"client {client.name} {numbers.hexadecimal(client.certificate.serial_number)} {key}")
    lines += [f"counts as valid, without a line in a record: {path}" for path in plan.unrecorded]
    lines += [f"not taken: {path}: {why}" for path, why in plan.not_taken.items()]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
