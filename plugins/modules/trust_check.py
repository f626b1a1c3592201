# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: trust_check
short_description: Compare what a host trusts with the authorities on the controller
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Asks a host which CAs it trusts, before an authority is created in a directory without one, and fails if there are
    any. The directory may be lost, or its name wrong, and a new authority would lock out every client.
  - Without O(missing), compares all authorities of the host. It fails where a run would refuse to go on, because the
    host trusts another CA or has a newer CRL; RV(behind) says where the host has an older one.
  - M(mtls.nginx.nginx_site) compares an existing authority with what a host trusts.
  - The role P(mtls.nginx.ca#role) and the playbook C(mtls.nginx.status) use it.
options:
  missing:
    description: Directories without an authority. Omitted, all authorities of the host are compared.
    type: list
    elements: path
  authority:
    description: The directory of the host's own authority. A relative path starts at the inventory's directory.
    type: path
    required: true
  services:
    description: The host's services, as C(mtls_services) describes them.
    type: list
    elements: dict
    required: true
  binary:
    description: nginx's program, by name or path.
    type: str
    default: nginx
  conf_path:
    description: nginx's main configuration file.
    type: path
    default: /etc/nginx/nginx.conf
  replace_authority:
    description: Whether another CA may replace the one that the host trusts. Then the host is not asked.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return the same.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.nginx_site
"""

EXAMPLES = r"""
- name: Make sure that no host trusts an authority yet
  mtls.nginx.trust_check:
    missing: ["{{ inventory_dir }}/pki"]
    authority: "{{ mtls_ca_dir }}"
    services: "{{ mtls_services }}"
  become: true
"""

RETURN = r"""
behind:
  description: What the authorities have revoked and the host's CRLs do not list. Always empty with O(missing).
  returned: when the host was asked
  type: list
  elements: str
  sample:
    - >-
      /etc/nginx/client-certs/crl.pem does not list what /srv/pki has revoked: phone (5D1F0C9A7B3E246810). Whoever has
      such a certificate gets in
asked:
  description: Whether the host was asked. An unreachable host is not a failure.
  returned: success
  type: bool
  sample: true
"""
