# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: have a host fetch its CRL by itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_crl_fetch
short_description: Have a host fetch its CRL by itself
version_added: "0.1.0"
description:
  - Installs a program in C(/var/lib/mtls-crl) with a systemd timer C(mtls-crl.timer), or an entry in C(/etc/cron.d)
    where systemd does not run, and fetches once.
  - The program checks what it fetches, and installs it as M(mtls.nginx.nginx_config) does. Any failure leaves what the
    host has. It never starts an nginx that does not run.
  - Where its settings say so, it also looks whether the controller still comes, and tells a program on the host if not.
  - M(mtls.nginx.nginx_site) uses it where O(mtls.nginx.nginx_site#module:settings.crl_urls) are given, and removes it
    otherwise.
options:
  files:
    description: Texts by path in that folder - the program, its settings, and C(minutes). Empty removes all of it.
    type: dict
    required: true
  conf_path:
    description: nginx's main configuration file. With another than the default, names have a suffix, such as
      C(mtls-crl-1b2c3d4e.timer), so that each nginx of a host has its own.
    type: path
    default: /etc/nginx/nginx.conf
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
- name: Have the host no longer fetch its CRL
  mtls.nginx.nginx_crl_fetch:
    files: {}
  become: true
"""

RETURN = r"""
message:
  description: What was done, in words.
  returned: success
  type: str
  sample: the CRL is fetched every 60 minutes
"""

import json
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    crl_fetch,
    crl_place,
    crl_records,
    crl_timer,
    nginx_process,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "conf_path": {"type": "path", "default": nginx_process.DEFAULT_CONF},
        },
        supports_check_mode=True,
    )

    def work() -> dict[str, Any]:
        wanted = module.params["files"]
        place = crl_place.Place.of(module.params["conf_path"])
        timer = crl_timer.Timer(place, systemd=nginx_process.systemd_runs())
        if not wanted:
            changed = place.exists
            if changed and not module.check_mode:
                timer.remove()
            return {"changed": changed, "message": "the CRL is no longer fetched" if changed else "nothing is fetched"}
        fetches = bool(json.loads(wanted[crl_records.SETTINGS])["sources"])
        if fetches and shutil.which("openssl") is None:
            raise MtlsError(
                "mtls_crl_url: the program openssl, which checks the CRL, is missing; install the package openssl"
            )
        what = "the CRL is fetched" if fetches else "the host checks whether the controller still reaches it"
        message = f"{what} every {wanted[crl_timer.MINUTES].strip()} minutes"
        if timer.digest() == crl_timer.fingerprint(wanted):
            return {"changed": False, "message": message}
        if not module.check_mode:
            timer.install(wanted)
            said: list[str] = []
            if not crl_fetch.run(place.folder, said.append):
                module.warn(f"{what} from now on, and the first time failed: {'; '.join(said)}")
        return {"changed": True, "message": message}

    entry.run_module(module, work)


if __name__ == "__main__":
    main()
