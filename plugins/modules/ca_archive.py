# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: archive an authority, or restore one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_archive
short_description: Archive a certificate authority in one encrypted file, or restore it
version_added: "0.1.0"
description:
  - Puts the whole directory of an authority into one encrypted file, as a backup or to move it to another controller.
    That is the key, the record, the CRL, the files of all clients and servers, the register and the audit log.
  - Restores such a directory, with the modes and times of its files.
  - The archive is encrypted with AES-256 under a key that PBKDF2 makes of the passphrase, and has an HMAC-SHA256. It
    can be opened with C(tar) and C(openssl) alone, and says how in its C(README.txt).
  - In it, the private key of the authority is still encrypted with its own passphrase.
options:
  ca_path:
    description: The directory of the authority.
    type: path
    required: true
  archive:
    description: The archive on the controller. It has mode 0600, and is written completely or not at all.
    type: path
    required: true
  passphrase:
    description: The passphrase of the archive. It should differ from that of the authority's key.
    type: str
    required: true
  state:
    description:
      - With V(exported), the archive has the current state of the authority. One that has it already is not rewritten.
      - With V(restored), O(ca_path) is restored from the archive. It must be missing, empty, or the same already.
        Another authority, or another state of this one, is never replaced.
    type: str
    choices: [exported, restored]
    required: true
extends_documentation_fragment:
  - mtls.nginx.attributes
  - mtls.nginx.attributes.controller
seealso:
  - module: mtls.nginx.ca_init
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Back up the authority
  mtls.nginx.ca_archive:
    ca_path: "{{ inventory_dir }}/pki"
    archive: /srv/backup/pki.tar
    passphrase: "{{ vault_mtls_archive_passphrase }}"
    state: exported
  delegate_to: localhost
  run_once: true

- name: Restore the authority on its new controller
  mtls.nginx.ca_archive:
    ca_path: "{{ inventory_dir }}/pki"
    archive: /root/pki.tar
    passphrase: "{{ vault_mtls_archive_passphrase }}"
    state: restored
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
size:
  description: The size of the archive in bytes; V(null) in check mode when there is none yet.
  returned: success
  type: int
  sample: 184320
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import archive
from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

SPEC = {
    "argument_spec": {
        "ca_path": {"type": "path", "required": True},
        "archive": {"type": "path", "required": True},
        "passphrase": {"type": "str", "required": True, "no_log": True},
        "state": {"type": "str", "choices": ["exported", "restored"], "required": True},
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
    if not options["passphrase"]:
        raise MtlsError(f"{options['archive']}: the passphrase is empty; give one")
    exporting = options["state"] == "exported"
    work, written = (archive.export, options["archive"]) if exporting else (archive.restore, options["ca_path"])
    changed = work(options["ca_path"], options["archive"], options["passphrase"], check=call.check_mode)
    status = files.status(options["archive"])
    return {
        "changed": changed,
        "size": status and status.st_size,
        "diff": {"before": "", "after": f"{written}: {options['state']}\n" if changed else ""},
    }


if __name__ == "__main__":
    main()
