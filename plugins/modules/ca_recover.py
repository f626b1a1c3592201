# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: restore revocations from the hosts' CRLs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_recover
short_description: Restore revocations from the hosts' CRLs into an old copy of an authority
version_added: "0.1.0"
description:
  - For a directory that was restored from a backup, or is another old copy. Hosts have a newer CRL, and refuse an older
    one.
  - Uses those of O(crls) that this authority has signed. Certificates that they list are recorded as revoked, and a CRL
    with a higher number is written. A hold counts only if there is no newer CRL that may have released it.
  - A CRL that is damaged or signed by another CA is skipped, with a warning that names it.
  - If a certificate is not in the record, only its serial is known. It stays on the CRL until the authority expires.
  - A directory with sequential serials uses random ones from then on, because those issued meanwhile are unknown.
  - Certificates that were issued meanwhile and not revoked are on no CRL. They stay valid, and their clients get new
    ones with the next run of P(mtls.nginx.ca#role).
  - The playbook C(mtls.nginx.recover) collects the CRLs and runs this module.
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
- name: Restore the revocations that a host's CRL lists
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
  description: The certificates that were recorded as revoked, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: "1003"
    subject:
      description: The subject in the format of C(index.txt); C(/CN=known from the CRL only) if the record has none.
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
  description: The number of the authority's CRL; in check mode, that of the present one.
  returned: success
  type: int
  sample: 13
message:
  description: What was done, in words.
  returned: success
  type: str
  sample: "2 revocations of CRL 12 were not recorded"
"""

from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_kept_here
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
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


def work(call: entry.Call) -> dict[str, Any]:
    """Return the result of the module for the arguments of ``call``.

    :raises MtlsError: what was asked for cannot be done; the text says why.
    """
    entry.require_cryptography()
    options = call.params
    entry.check_at_least_one(options, "days")
    access = Access.of(options)
    with open_kept_here(access, "a recovery", read_only=call.check_mode) as authority:
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
            "before": _line(before),
            "after": "".join(_changes(recovered)) or _line(before),
        },
    }


def _files(items: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    """Return where each file is, and its content."""
    return [(f"host {item['host']}: {item['path']}", item["content"].encode()) for item in items]


def _line(state: CrlState | None) -> str:
    return f"CRL {state.number if state else 'none'}\n"


def _changes(recovered: recovery.Recovery) -> Iterator[str]:
    if recovered.behind and recovered.newest:
        yield f"a CRL above number {recovered.newest.number}\n"
        for each in recovered.revoked:
            yield f"revoked: {each.serial} {each.subject} ({each.reason or 'no reason'})\n"


def _message(recovered: recovery.Recovery) -> str:
    if recovered.newest is None:
        return "no host has a CRL of this authority: nothing to recover"
    if not recovered.behind:
        return f"the directory knows all that CRL {recovered.newest.number} does: nothing to recover"
    return f"{len(recovered.revoked)} revocations were not recorded; the newest CRL is number {recovered.newest.number}"


if __name__ == "__main__":
    main()
