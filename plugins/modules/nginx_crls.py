# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: the CRLs that a host has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_crls
short_description: Read the CRLs that a host has
version_added: "0.1.0"
description:
  - Returns each file C(crl.pem) in C(client-certs), beside O(conf_path), and in the directories below it.
  - Symbolic links are not followed. What cannot be read is left out, with a warning that names it.
  - The playbook C(mtls.nginx.recover) passes them to M(mtls.nginx.ca_recover).
options:
  conf_path:
    description: Path of nginx's main configuration file.
    type: path
    default: /etc/nginx/nginx.conf
extends_documentation_fragment:
  - mtls.nginx.attributes
attributes:
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.ca_recover
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Read the host's CRLs
  mtls.nginx.nginx_crls:
  become: true
  register: found
"""

RETURN = r"""
crls:
  description: The files, 64 MiB of them at most.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host's name in the inventory.
      type: str
      sample: nas
    path:
      description: Where the file is.
      type: str
      sample: /etc/nginx/client-certs/crl.pem
    content:
      description: What it contains, with a question mark for each character that does not belong in a PEM file.
      type: str
      sample: "-----BEGIN X509 CRL-----\n…\n-----END X509 CRL-----\n"
"""

import os
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.host import crls, nginx_process


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"conf_path": {"type": "path", "default": nginx_process.DEFAULT_CONF}},
        supports_check_mode=True,
    )
    conf_dir = os.path.dirname(module.params["conf_path"])
    entry.run_module(
        module,
        lambda: {"changed": False, "crls": [asdict(file) for file in crls.read_all(conf_dir, module.warn)]},
    )


if __name__ == "__main__":
    main()
