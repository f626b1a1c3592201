# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_gate
short_description: Report what a host's files and logs say of one service and one client
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Reports what decides on this host who enters a service - its CA, its CRL, and whom its map lets in - and what its
    logs say of the last requests of one client.
  - Changes nothing. It needs root to read nginx's logs.
  - M(mtls.nginx.doctor) compares it with the inventory and the authority's record.
options:
  service:
    description: The service's name.
    type: str
    required: true
  variable:
    description: Prefix of the service's nginx variables.
    type: str
    required: true
  server_block:
    description: Path of the service's server block, or of its snippet.
    type: path
    required: true
  maps:
    description: Path of the maps.
    type: path
    required: true
  ca:
    description: Path of the CA certificates.
    type: path
    required: true
  crl:
    description: Path of the CRLs.
    type: path
    required: true
  revoked:
    description: Path of the map lines of revoked serials.
    type: path
    required: true
  snippet:
    description: Whether O(server_block) is a snippet for a server block of the host's own.
    type: bool
    default: false
  server_names:
    description: The service's server names, for RV(gate.snippet_gates).
    type: list
    elements: str
    default: []
  serial:
    description: The serial number of the client's certificate, as nginx writes it.
    type: str
    default: ""
  dn:
    description: Its subject in nginx's DN format.
    type: str
    default: ""
  binary:
    description: nginx's program, by name or path.
    type: str
    default: nginx
  conf_path:
    description: nginx's main configuration file.
    type: path
    default: /etc/nginx/nginx.conf
  log_dir:
    description: Folder of the services' logs.
    type: path
    default: /var/log/nginx
attributes:
  check_mode:
    description: Can run in check mode and return the same.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  platform:
    description: Target systems it runs on.
    support: full
    platforms: linux
seealso:
  - module: mtls.nginx.doctor
"""

EXAMPLES = r"""
- name: Look at the gate of the service nas
  mtls.nginx.nginx_gate:
    service: nas
    variable: mtls_nas
    server_block: /etc/nginx/conf.d/mtls-nas.conf
    maps: /etc/nginx/conf.d/mtls.conf
    ca: /etc/nginx/client-certs/ca.crt
    crl: /etc/nginx/client-certs/crl.pem
    revoked: /etc/nginx/client-certs/revoked.map
    dn: CN=iphone-admin
  become: true
"""

RETURN = r"""
gate:
  description: What the host's files and logs say.
  returned: success
  type: dict
  contains:
    clock:
      description: The host's time, in seconds since 1970.
      type: float
      sample: 1796310000.5
    running:
      description: Whether nginx runs with that configuration file.
      type: bool
      sample: true
    configured:
      description: Whether the service's server block or snippet is there.
      type: bool
      sample: true
    included:
      description: Whether a server block includes the snippet; null without one.
      type: bool
      sample: null
    snippet_gates:
      description: As RV(mtls.nginx.nginx_config#module:snippet_gates).
      type: list
      elements: dict
      sample: []
    allow:
      description: Whom the service's map lets in - everybody with a valid certificate, or the holders of these
        subjects. Null without a map.
      type: dict
      sample: {everybody: false, subjects: [CN=iphone-admin]}
    certificate:
      description: SHA-256 fingerprint of the server certificate that the server block names, null without one.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    ca:
      description: SHA-256 of the CA certificates, null where there are none.
      type: str
      sample: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    crl:
      description: SHA-256 of the CRLs, null where there are none.
      type: str
      sample: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
    crl_begin:
      description: From when on all of the CRLs are valid, in seconds since 1970.
      type: int
      sample: 1796300000
    crl_end:
      description: When the first of the CRLs expires, in seconds since 1970.
      type: int
      sample: 1798900000
    revoked:
      description: Whether the host's CRL lists O(serial).
      type: bool
      sample: false
    requests:
      description: The last requests with this certificate, or with another one of the same subject, oldest first.
      type: list
      elements: dict
      sample:
        - {when: "23/Nov/2026:18:33:01 +0000", status: 400, verify: "FAILED:certificate revoked", serial: 02,
           probe: false, agent: curl/8.5.0}
    without:
      description:
        - Who was refused last for sending no certificate, oldest first, without the collection's own requests.
        - One request of each program at each address. C(agent) is what the program calls itself.
      type: list
      elements: dict
      sample:
        - {when: "23/Nov/2026:18:33:02 +0000", caller: 192.0.2.7, agent: "Mozilla/5.0"}
    http3:
      description: Whether a server block with the service's snippet also listens for HTTP/3; false without a snippet.
      type: bool
      sample: false
    errors:
      description: The last lines of the service's error log that are about TLS.
      type: list
      elements: str
      sample: []
    unread:
      description: The logs rotated last, where they cannot be read, being compressed with another program than gzip.
      type: list
      elements: str
      sample: []
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import run_module
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, nginx_process, snippets
from ansible_collections.mtls.nginx.plugins.module_utils.host.gate import Gate, state
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet

_PATHS = ("server_block", "maps", "ca", "crl", "revoked")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "variable": {"type": "str", "required": True},
            **{name: {"type": "path", "required": True} for name in _PATHS},
            "snippet": {"type": "bool", "default": False},
            "server_names": {"type": "list", "elements": "str", "default": []},
            "serial": {"type": "str", "default": ""},
            "dn": {"type": "str", "default": ""},
            "binary": {"type": "str", "default": "nginx"},
            "conf_path": {"type": "path", "default": nginx_process.DEFAULT_CONF},
            "log_dir": {"type": "path", "default": "/var/log/nginx"},
        },
        supports_check_mode=True,
    )
    options = module.params

    def work() -> dict[str, Any]:
        binary = module.get_bin_path(options["binary"], opt_dirs=nginx_process.PROGRAM_DIRS)
        gate = Gate(
            service=options["service"],
            variable=options["variable"],
            log_dir=options["log_dir"],
            **{name: options[name] for name in _PATHS},
        )
        found = state(gate, options["serial"], options["dn"])
        if options["snippet"] and found["configured"]:
            snippet = Snippet(options["service"], options["server_block"], server_names=options["server_names"])
            configuration = nginx_conf.load(options["conf_path"])
            found["included"] = snippets.is_included(configuration, snippet.path)
            found["http3"] = snippets.listens_for_http3(configuration, snippet.path)
            found["snippet_gates"] = [gate._asdict() for gate in snippets.gates(configuration, [snippet])]
        running = binary is not None and nginx_process.Nginx(binary, options["conf_path"]).master() is not None
        return {"changed": False, "gate": {"clock": time.time(), "running": running, **found}}

    run_module(module, work)


if __name__ == "__main__":
    main()
