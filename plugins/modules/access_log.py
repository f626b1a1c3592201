# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: which client certificates came to the services of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_log
short_description: List the client certificates that a host's services have seen
version_added: "0.1.0"
description:
  - Reads the access logs that the server blocks of this collection write, rotated and compressed ones too.
  - Only certificates that nginx has verified count, and not the requests that this collection makes to probe a gate.
  - A service that is a snippet has no such log, because the server block is yours.
  - Old logs are also looked for where logrotate's C(olddir) puts them.
  - Only regular files are read. A warning names symbolic links and the like, and logs that are compressed with another
    program than gzip; RV(unread) has these.
options:
  services:
    description: The names of the services.
    type: list
    elements: str
    required: true
  host:
    description: The host's name in the inventory. It is returned with each caller.
    type: str
    required: true
  log_dir:
    description: Folder of nginx's logs.
    type: path
    default: /var/log/nginx
  days:
    description: How many days to look back.
    type: int
    default: 30
extends_documentation_fragment:
  - mtls.nginx.attributes
attributes:
  diff_mode:
    description: There is nothing to show.
    support: none
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: See who was there in the last week
  mtls.nginx.access_log:
    services: [nas, photos]
    host: "{{ inventory_hostname }}"
    days: 7
"""

RETURN = r"""
unread:
  description: Logs in which there may be others, because they are compressed with another program than gzip.
  returned: success
  type: list
  elements: str
  sample: []
callers:
  description: The certificates, for each service those seen last first.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host.
      type: str
      sample: nas
    service:
      description: The service.
      type: str
      sample: photos
    serial:
      description: The serial number, hexadecimal, as nginx writes it.
      type: str
      sample: 5A3F1D0C4B9E8877665544332211009988776655
    dn:
      description: The subject in nginx's DN format.
      type: str
      sample: CN=iphone-admin
    last:
      description: When it was last seen.
      type: str
      sample: "2026-11-23T14:39:00Z"
    status:
      description: The status of that last response.
      type: int
      sample: 200
    requests:
      description: How many requests it made.
      type: int
      sample: 42
    fetched:
      description: When it last fetched the certificate that follows it, at C(/.mtls/); null where it has not.
      type: str
      sample: null
"""

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.host import access_log

_DAY = 86400


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str", "required": True},
            "host": {"type": "str", "required": True},
            "log_dir": {"type": "path", "default": "/var/log/nginx"},
            "days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    entry.run_module(module, lambda: _work(module.params, module.warn))


def _work(options: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    entry.check_at_least_one(options, "days")
    since = int(time.time()) - options["days"] * _DAY
    heard = [access_log.callers(options["log_dir"], name, since, warn) for name in options["services"]]
    return {
        "changed": False,
        "unread": [path for each in heard for path in each.unread],
        "callers": [
            {
                "host": options["host"],
                "service": caller.service,
                "serial": caller.serial,
                "dn": caller.dn,
                "last": _time(caller.last),
                "status": caller.status,
                "requests": caller.requests,
                "fetched": None if caller.fetched is None else _time(caller.fetched),
            }
            for each in heard
            for caller in each.found
        ],
    }


def _time(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


if __name__ == "__main__":
    main()
