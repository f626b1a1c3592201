# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: doctor
short_description: Explain why a service lets a client in, or does not
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Compares what the inventory says, what the authority has recorded, and the facts - a real request to the service,
    and the files, the clock and the logs of the host.
  - The request is made from the controller with the client's own certificate where its unencrypted private key is
    beside the certificate. Otherwise one is made without a certificate, and the verdict follows from the
    record and the host's files.
  - If the gate lets in a client who should be let in, the service's page (C(probe_path)) is asked for once too.
  - An unreachable host is reported as such; record and request are still shown.
  - Needs neither the authority's key nor its passphrase, and changes nothing.
  - The playbook C(mtls.nginx.doctor) runs it.
options:
  service:
    description: The service's name.
    type: str
  client:
    description:
      - The client's name in the inventory.
      - Either this or O(certificate).
    type: str
  certificate:
    description: A certificate file on the controller, in PEM or DER. A relative path starts at the current directory.
    type: path
  address:
    description: Address to connect to. By default C(ansible_host), or the service's own where the connection is local.
    type: str
  binary:
    description: nginx's program on the host, by name or path.
    type: str
    default: nginx
  conf_path:
    description: nginx's main configuration file on the host.
    type: path
    default: /etc/nginx/nginx.conf
  log_dir:
    description: Folder of the services' logs on the host.
    type: path
    default: /var/log/nginx
attributes:
  check_mode:
    description: Changes nothing, with or without C(--check).
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: mtls.nginx.nginx_gate
  - module: mtls.nginx.tls_probe
"""

EXAMPLES = r"""
- name: Find out why the phone does not get in
  mtls.nginx.doctor:
    service: nas
    client: iphone-admin
  become: true
  register: diagnosis

- name: Stop where the gate does not do what the inventory says
  ansible.builtin.assert:
    that: diagnosis.as_intended
    fail_msg: "{{ diagnosis.msg }}"
"""

RETURN = r"""
msg:
  description: The diagnosis in one paragraph - the verdict, the cause, the evidence, and the remedy.
  type: str
  returned: success
  sample: >-
    Client 'iphone-admin' is not let in to the service nas on nas, though the inventory wants it to enter: its
    certificate 02 expired on 2026-11-23 14:39 UTC. A request with its own certificate got 400, and nginx logged:
    certificate has expired. Remedy: ansible-playbook -i hosts.yml mtls.nginx.site --limit nas issues a new one.
verdict:
  description: Whether the client is let in - V(let in), V(not let in) or V(unknown).
  type: str
  returned: success
  sample: not let in
intent:
  description: What the inventory wants - V(let in) or V(not let in).
  type: str
  returned: success
  sample: let in
as_intended:
  description: Whether RV(verdict) is what RV(intent) wants.
  type: bool
  returned: success
  sample: false
causes:
  description: The causes, most important first. Each has a name, a text and a remedy.
  type: list
  elements: dict
  returned: success
  sample:
    - cause: expired
      text: its certificate 02 expired on 2026-11-23 14:39 UTC
      remedy: ansible-playbook -i hosts.yml mtls.nginx.site --limit nas issues a new one
remedy:
  description: What to do, null where there is nothing.
  type: str
  returned: success
  sample: ansible-playbook -i hosts.yml mtls.nginx.site --limit nas issues a new one
commands:
  description: The commands that RV(remedy) names, with the options that this run had for its inventory and its vaults.
  type: list
  elements: str
  returned: success
  sample: [ansible-playbook -i hosts.yml mtls.nginx.site --limit nas]
"""
