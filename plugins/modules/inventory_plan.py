# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: inventory_plan
short_description: Read from the whole inventory which authority serves which clients
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Reads C(mtls_clients), C(mtls_fleet_clients), C(mtls_services) and C(mtls_revoked) of B(all) hosts of the
    inventory, whatever C(--limit) says, and returns what each authority (C(mtls_ca_dir)) has to do.
  - Fails if the inventory contradicts itself, and names the hosts, before anything is changed.
  - Fails for a directory in the folder of an AWX job, which is thrown away after it.
  - Runs on the controller only. The role P(mtls.nginx.ca#role) uses it.
options:
  only:
    description: Returns this authority and its successor only.
    type: path
  move:
    description: Moves clients to the successor of their authority.
    type: bool
    default: false
  move_clients:
    description: The clients to move, with O(move).
    type: list
    elements: str
    default: []
  move_count:
    description: How many clients to move, with O(move) and without O(move_clients). Left out, all that have not moved.
    type: int
  plan_file:
    description:
      - Where the summary of the playbooks writes who gains and who loses entry, as Markdown, which is checked here. A
        relative path starts at the inventory's directory.
    type: str
  access:
    description: Returns RV(access) and RV(access_plan) too.
    type: bool
    default: false
  access_before:
    description: The RV(access) of the inventory as it was. Left out, everything is new.
    type: dict
  to_revoke:
    description:
      - Returns what is needed to revoke something at once. What the inventory says wrong of clients, services and
        settings that do not matter for that is a warning.
      - An authority is left out if its hosts differ in how it is asked. It is an error if none is left.
    type: bool
    default: false
  crls_only:
    description: Whether only CRLs are renewed, so that services of hosts outside of the play may be wrong or unknown.
    type: bool
    default: false
notes:
  - The result contains passphrases and export passwords, so it is not shown at any verbosity.
attributes:
  check_mode:
    description: Changes nothing, with or without C(--check).
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Read from the whole inventory who may enter which service
  mtls.nginx.inventory_plan:
  run_once: true
  register: plan
"""

RETURN = r"""
authorities:
  description: What each authority has to do, by its directory.
  type: dict
  returned: success
  sample:
    /srv/inventory/pki:
      path: /srv/inventory/pki
      subject: {O: Acme, CN: Acme Root CA}
      clients: [{name: iphone-admin, state: present}]
      servers: [{host: nas, name: nas, server_names: [nas.example.com]}]
      revoked: []
access:
  description: Who may enter what according to the inventory, by authority. It has no secret in it.
  type: dict
  returned: with O(access=true)
  sample:
    pki:
      clients: {phone: true}
      gates: {nas: [{service: wiki, path: "", everybody: false, subjects: [phone], public: [], networks: []}]}
      revoked: []
access_plan:
  description: Who gains and who loses entry since O(access_before), as Markdown.
  type: str
  returned: with O(access=true)
left_out:
  description: Why authorities were left out, with O(to_revoke).
  type: list
  elements: str
  returned: with O(to_revoke)
  sample: []
missing:
  description: The directories in which an authority would be created, because there is none yet.
  type: list
  elements: str
  returned: success
  sample: []
"""
