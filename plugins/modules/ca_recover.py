# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: an authority that is older than its hosts knows again what they know."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_recover
short_description: An old copy of an authority is brought forward by the CRLs of its hosts
version_added: "0.1.0"
description:
  - For a directory that was restored from a backup, or is another old copy. Hosts have a newer CRL, and take none that
    is older.
  - Takes those of O(crls) that this authority has signed. What they list as revoked is recorded as revoked, and a CRL
    is written whose number is above theirs. A hold counts only if no newer CRL is here that may have released it.
  - What is damaged or by another CA is skipped, with a warning that names it.
  - Of a certificate that the record does not have, only the serial is known. It stays on the CRL as long as the
    authority is valid.
  - A directory that counts its serials up goes on with random ones, because nobody knows which were used meanwhile.
  - Certificates that were issued meanwhile and not revoked are in no CRL. They stay valid, and their clients get new
    ones with the next run of P(mtls.nginx.ca#role).
  - The playbook C(mtls.nginx.recover) collects the CRLs and uses it.
options:
  crls:
    description: Files with CRLs, as the hosts have them.
    type: list
    elements: dict
    required: true
    suboptions:
      content:
        description: What the file contains, in PEM.
        type: str
        required: true
      host:
        description: The host that has it.
        type: str
        required: true
      path:
        description: Where it is there.
        type: str
        required: true
  days:
    description: For how many days the new CRL is valid.
    type: int
    default: 30
extends_documentation_fragment:
  - mtls.nginx.authority
  - mtls.nginx.authority.backend
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
notes:
  - For the backends V(directory) and V(pkcs11). Others keep the record elsewhere.
seealso:
  - module: mtls.nginx.ca_archive
  - module: mtls.nginx.crl
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: What a host knows is known again
  mtls.nginx.ca_recover:
    ca_path: "{{ inventory_dir }}/pki"
    ca_passphrase: "{{ vault_mtls_ca_passphrase }}"
    crls:
      - content: "{{ lookup('ansible.builtin.file', 'crl-of-nas.pem') }}"
        host: nas
        path: /etc/nginx/client-certs/crl.pem
  delegate_to: localhost
"""

RETURN = r"""
revoked:
  description: The certificates that are recorded as revoked now, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    subject:
      description: The subject in the spelling of C(index.txt); C(/CN=known from the CRL only) if the record has none.
      type: str
      sample: /CN=lost-phone
    reason:
      description: The reason of the revocation; V(null) for none.
      type: str
      sample: keyCompromise
newest:
  description: The number of the newest CRL of this authority among O(crls); V(null) where there is none.
  returned: success
  type: int
  sample: 12
number:
  description: The number of the CRL that is in place; in check mode, of that which was before.
  returned: success
  type: int
  sample: 13
message:
  description: What was done, in words.
  returned: success
  type: str
  sample: "2 revocations of CRL 12 were not recorded"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority, require_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import recovery
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import AUTHORITY_OPTIONS
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry

SPEC = {
    "argument_spec": {
        **AUTHORITY_OPTIONS,
        "crls": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {name: {"type": "str", "required": True} for name in ("host", "path", "content")},
        },
        "days": {"type": "int", "default": 30},
    },
    "supports_check_mode": True,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPEC)
    entry.run_module(module, lambda: work(module))


def work(call: entry.Call) -> dict:
    """Do what the task asks and return its result; raises MtlsError."""
    entry.require_cryptography()
    options = call.params
    entry.check_at_least_one(options, "days")
    access = Access.of(options)
    require_directory(access, "a recovery")
    with open_authority(access, read_only=call.check_mode) as authority:
        found, warnings = recovery.signed_by(authority.chain[0], _files(options["crls"]))
        recovered = recovery.bring_forward(authority, found, check=call.check_mode)
        before = authority.crl_state()
        writes = recovered.behind and not call.check_mode
        after = authority.write_crl(options["days"]) if writes else before
        warnings += authority.warnings
    if recovered.behind:
        warnings.append(
            f"{access.path}: certificates that were issued since this copy was made are not in it, and stay valid "
            "until they expire; name those that should not be in mtls_revoked, by their files"
        )
    for warning in warnings:
        call.warn(warning)
    message = _message(recovered)
    return {
        "changed": recovered.behind,
        "revoked": [
            {"serial": each.serial, "subject": each.subject, "reason": each.reason} for each in recovered.revoked
        ],
        "newest": recovered.newest and recovered.newest.number,
        "number": after and after.number,
        "message": message,
        "diff": {
            "before": f"CRL {before.number if before else 'none'}\n",
            "after": "".join(
                [
                    f"a CRL above number {recovered.newest.number}\n",
                    *(
                        f"revoked: {each.serial} {each.subject} ({each.reason or 'no reason'})\n"
                        for each in recovered.revoked
                    ),
                ]
            )
            if recovered.behind
            else f"CRL {before.number if before else 'none'}\n",
        },
    }


def _files(items: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    """Return where each file is, and its content."""
    return [(f"host {item['host']}: {item['path']}", item["content"].encode()) for item in items]


def _message(recovered: recovery.Recovery) -> str:
    if recovered.newest is None:
        return "no host has a CRL of this authority: nothing to recover"
    if not recovered.behind:
        return f"the directory knows all that CRL {recovered.newest.number} does: nothing to recover"
    return f"{len(recovered.revoked)} revocations were not recorded; the newest CRL is number {recovered.newest.number}"


if __name__ == "__main__":
    main()
