# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: handouts
short_description: Write a page for each client that explains how to install its certificate
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Writes C(clients/<name>/<name>.html) for each client with a valid certificate, and removes it where there is none
    any more. It explains how to install the certificate on each kind of device, which services it opens and until when,
    and what common errors mean.
  - A page is one file that needs no network and no JavaScript. It contains no password and no key.
  - Only pages that differ are written. Works on the controller, and needs no passphrase. The role P(mtls.nginx.ca#role)
    uses it.
options:
  ca_path:
    description: The directory of the authority. Run M(mtls.nginx.client_cert) first.
    type: path
    required: true
  services:
    description: The services of all hosts, as M(mtls.nginx.inventory_plan) returns them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The service's name.
        type: str
        required: true
      urls:
        description: Its addresses. One with an asterisk is shown as text.
        type: list
        elements: str
        required: true
      allow:
        description: The clients that may enter. Left out, all may.
        type: list
        elements: str
      issued_by_authority:
        description: Whether the authority issued the server certificate, so that devices have to trust it.
        type: bool
        default: false
      renewal_urls:
        description: Addresses at which clients of the service fetch their next certificate.
        type: list
        elements: str
        default: []
      renewal_allow:
        description: The clients that may. Left out, all may.
        type: list
        elements: str
  template:
    description:
      - The path of a Jinja template on the controller, instead of the collection's own. HTML in it is not escaped,
        its variables are.
      - It gets the variables of the collection's own, and can C(include "page.css").
    type: path
  contact:
    description: Whom the pages name for questions.
    type: dict
    suboptions:
      name:
        description: A person or a team.
        type: str
        required: true
      url:
        description: Where to reach them, such as C(mailto:ana@example.com).
        type: str
  state:
    description: V(absent) removes the pages of all clients.
    type: str
    choices: [present, absent]
    default: present
  foreseen:
    description: In check mode, what M(mtls.nginx.client_cert) returned in C(clients), which is not on disk yet.
    type: list
    elements: dict
    default: []
  revoked:
    description: In check mode, the serials that M(mtls.nginx.crl) would revoke, which the record does not know yet.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Writes and removes nothing in check mode, and says what it would.
    support: full
  diff_mode:
    description: One line for each page that differs.
    support: full
"""

EXAMPLES = r"""
- name: Read from the whole inventory who may enter which service
  mtls.nginx.inventory_plan:
  run_once: true
  register: plan

- name: Write a page for each client
  mtls.nginx.handouts:
    ca_path: "{{ inventory_dir }}/pki"
    services: "{{ plan.authorities[inventory_dir + '/pki'].services }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
written:
  description: The clients whose page was written.
  type: list
  elements: str
  returned: success
  sample: [iphone-admin]
removed:
  description: The clients whose page was removed.
  type: list
  elements: str
  returned: success
  sample: [lost-phone]
"""
