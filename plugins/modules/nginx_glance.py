# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: look at a host that has nothing special, with as little code as can be.

Ansible sends a module whole, and a host with nothing to change is asked nothing else: half of what that costs is Python
reading it. So nothing is imported here that few hosts need, not inside functions either.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_glance
short_description: Look at a host that has nothing special
version_added: "0.1.0"
description:
  - Returns what M(mtls.nginx.nginx_facts) would, for half the time, or nothing where that takes a closer look.
  - For M(mtls.nginx.nginx_site). It changes nothing.
options:
  binary:
    description: As O(mtls.nginx.nginx_facts#module:binary).
    type: str
    default: nginx
  conf_path:
    description: As O(mtls.nginx.nginx_facts#module:conf_path).
    type: path
    default: /etc/nginx/nginx.conf
  paths:
    description: As O(mtls.nginx.nginx_facts#module:compare.paths).
    type: list
    elements: path
    required: true
  owned:
    description: As O(mtls.nginx.nginx_facts#module:compare.owned).
    type: list
    elements: path
    default: []
  shutdown_timeout:
    description: As O(mtls.nginx.nginx_facts#module:compare.shutdown_timeout).
    type: int
  restart:
    description: As O(mtls.nginx.nginx_facts#module:compare.restart).
    type: bool
  renewals:
    description: As O(mtls.nginx.nginx_facts#module:compare.renewals).
    type: path
    required: true
  expected:
    description: As O(mtls.nginx.nginx_facts#module:expected).
    type: dict
    default: {}
  addresses:
    description: As O(mtls.nginx.nginx_facts#module:addresses).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - mtls.nginx.attributes
attributes:
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.nginx_facts
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Look whether a file is as it should be
  mtls.nginx.nginx_glance:
    paths: [/etc/nginx/client-certs/crl.pem]
    renewals: /etc/nginx/client-renewals
  become: true
  register: looked
"""

RETURN = r"""
nginx:
  description: As RV(mtls.nginx.nginx_facts#module:nginx), or null where M(mtls.nginx.nginx_facts) has to look.
  returned: success
  type: dict
  sample: null
"""

import glob
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import run_module
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, crl_place, facts, nginx_conf, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import (
    DEFAULT_CONF,
    PROGRAM_DIRS,
    Nginx,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, SnippetPlaces


def glance(binary: str, conf_path: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Return the facts of a host, or None where there is something that takes a closer look.

    :raises swap.Busy: another run is working on the host.
    """
    special = (options["renewals"], facts.ACME_RENEWALS, *glob.glob(f"{os.path.dirname(conf_path)}/snippets/mtls-*"))
    if any(map(os.path.exists, special)) or crl_place.Place.of(conf_path).exists:
        return None
    nginx, found = Nginx(binary, conf_path), facts.begin(binary, conf_path)
    request = ChangeRequest(
        owned=options["owned"], shutdown_timeout=options["shutdown_timeout"], restart=options["restart"]
    )
    try:
        found.update(facts.of_nginx(nginx))
        configuration = nginx_conf.load(conf_path)
        found.update(facts.of_configuration(nginx, configuration))
        if nginx_conf.has_overlaps(configuration) or found["upgrading"] or not found["running"]:
            return None
        if nginx_conf.not_included(configuration, filter(os.path.exists, options["paths"])):
            return None
        if any(comparison.fingerprint_of(path) != wanted for path, wanted in options["expected"].items()):
            return None
        looked = comparison.look(conf_path, options["paths"], request)
    except swap.Busy:
        raise
    except (MtlsError, OSError):  # the closer look says why
        return None
    if options["addresses"]:
        # Only here: most services listen on every address.
        from ansible_collections.mtls.nginx.plugins.module_utils.host import addresses

        found["away"] = addresses.away(options["addresses"])
    found["acme"] = {"outdated": [], "abandoned": []}
    found["trust"] = {"clock": time.time(), "held": {}}
    found["comparison"] = {
        "settled": looked.settled,
        "fingerprints": {**looked.fingerprints, options["renewals"]: None},
        "own_shutdown_timeout": looked.own_bound._asdict() if looked.own_bound else None,
        **SnippetPlaces().as_answer(),
    }
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "str", "default": "nginx"},
            "conf_path": {"type": "path", "default": DEFAULT_CONF},
            "paths": {"type": "list", "elements": "path", "required": True},
            "owned": {"type": "list", "elements": "path", "default": []},
            "shutdown_timeout": {"type": "int"},
            "restart": {"type": "bool"},
            "renewals": {"type": "path", "required": True},
            "expected": {"type": "dict", "default": {}},
            "addresses": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )

    def work() -> dict[str, Any]:
        options = module.params
        binary = module.get_bin_path(options["binary"], opt_dirs=PROGRAM_DIRS)
        return {"changed": False, "nginx": glance(binary, options["conf_path"], options) if binary else None}

    run_module(module, work)


if __name__ == "__main__":
    main()
