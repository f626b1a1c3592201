# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: tls_probe
short_description: Ask services for a page, as those who may enter and as those who may not
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Makes real requests from the controller to each service of a host and fails where the gate does not do what the
    inventory says.
  - "Asks as: nobody (no certificate), a client on the allow list, a valid client that is not on it, a revoked client,
    and somebody with the name of a real client from a self-made CA with the real CA's name. Who does not exist, or has
    no key on the controller, is left out."
  - What stands behind the gate may be down. That is told, but is not the gate's failure.
options:
  authority:
    description: The authority's directory on the controller. A relative path starts at the inventory's directory.
    type: path
    required: true
  services:
    description: The host's services, as C(mtls_services) describes them.
    type: list
    elements: dict
    required: true
  address:
    description:
      - Address to connect to. By default C(ansible_host), or 127.0.0.1 where the connection is local.
      - A service that listens on one address only is asked there when the connection is local.
    type: str
  crl_only:
    description:
      - Asks only what a new CRL could have changed - as a client whose certificate is good, who must not get status
        400, whatever the allow list says of it, and as a revoked one, who must.
      - A service that does not refuse a request without a certificate is left out. It may wait to be set up.
    type: bool
    default: false
attributes:
  check_mode:
    description: Asks nothing with C(--check), because what would be asked may not be there yet.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Ask every service for a page
  mtls.nginx.tls_probe:
    authority: "{{ inventory_dir }}/pki"
    services: "{{ mtls_services }}"
    address: "{{ mtls_probe_address | default(omit) }}"
"""

RETURN = r"""
attempts:
  description: Who asked which service, and what the answer was - an HTTP status, or why there was none.
  type: list
  elements: dict
  returned: always
  sample:
    - {service: nas, who: no certificate, expected: "400", got: "400", ok: true}
    - {service: nas, who: "client iphone-admin, on the allow list", expected: let in, got: "200", ok: true}
"""
