# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: have certbot obtain server certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_acme
short_description: Have certbot obtain server certificates
version_added: "0.1.0"
description:
  - Has the host's certbot obtain certificates from an ACME server, each under a name of its own, and answers the
    C(http-01) challenge with a folder that nginx serves. From then on the timer of certbot's package renews them.
  - M(mtls.nginx.nginx_site) uses it for services with C(certificate=acme), when a certificate is missing, has to be
    for other names, or is to come from another ACME server. Otherwise certbot is not called.
options:
  orders:
    description: The certificates to obtain, whatever certbot has.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: Name of the service, for messages.
        type: str
        required: true
      lineage:
        description: certbot's name for the certificate.
        type: str
        required: true
      server_names:
        description: The names that it is for.
        type: list
        elements: str
        required: true
      directory_url:
        description: Address of the ACME server's directory.
        type: str
        required: true
      webroot:
        description: The folder from which nginx serves challenges. It is made if it is missing.
        type: path
        required: true
      email:
        description: Whom the ACME server may write to.
        type: str
      profile:
        description: The ACME server's name for a kind of certificate. It needs certbot 4.0 or newer.
        type: str
  forget:
    description: certbot's names of certificates to delete.
    type: list
    elements: str
    default: []
  hook:
    description: The program that certbot runs when it has renewed one of O(orders).
    type: path
    required: true
extends_documentation_fragment:
  - mtls.nginx.attributes
attributes:
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.nginx_site
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: Have certbot no longer renew a certificate
  mtls.nginx.nginx_acme:
    forget: [mtls-nas]
    hook: /etc/nginx/server-certs/acme-deploy-hook
  become: true
"""

RETURN = r"""
installed:
  description: Whether certbot is installed. If not, nothing was done.
  returned: success
  type: bool
  sample: true
failures:
  description: Why certificates were not obtained or deleted, each as a sentence.
  returned: success
  type: list
  elements: str
  sample: []
obtained:
  description: The services that have a new certificate.
  returned: success
  type: list
  elements: str
  sample: [nas]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_client import Certbot, Order, renews_by_itself


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "orders": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "service": {"type": "str", "required": True},
                    "lineage": {"type": "str", "required": True},
                    "server_names": {"type": "list", "elements": "str", "required": True},
                    "directory_url": {"type": "str", "required": True},
                    "webroot": {"type": "path", "required": True},
                    "email": {"type": "str"},
                    "profile": {"type": "str"},
                },
            },
            "forget": {"type": "list", "elements": "str", "default": []},
            "hook": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )

    def work() -> dict[str, Any]:
        orders = [Order(**each) for each in module.params["orders"]]
        forget = module.params["forget"]
        result: dict[str, Any] = {"changed": bool(orders or forget), "installed": True, "failures": [], "obtained": []}
        certbot = Certbot.find()
        if certbot is None:
            return {**result, "changed": False, "installed": False}
        if module.check_mode:
            return result
        for order in orders:
            try:
                certbot.obtain(order, module.params["hook"])
                result["obtained"].append(order.service)
            except MtlsError as error:
                result["failures"].append(str(error))
        for lineage in forget:
            try:
                certbot.forget(lineage)
            except MtlsError as error:
                result["failures"].append(str(error))
        if result["obtained"] and not renews_by_itself():
            module.warn(
                "certbot's package has no timer that renews certificates here; run 'certbot renew -q' twice a day"
            )
        return result

    entry.run_module(module, work)


if __name__ == "__main__":
    main()
