# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: tls_probe
short_description: Test services with requests of clients that may enter and of those that may not
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Makes real requests from the controller to each service of a host, and fails if a service does not do what the
    inventory says.
  - "Requests are made: without a certificate, as a client on the allow list, as a valid client that is not on it, as
    a revoked client, and with a real client's name in a certificate of a self-made CA that has the real CA's name.
    Clients that do not exist, or have no key on the controller, are left out."
  - Then each service is asked for its page (C(probe_path)), once, as the client who was let in. If nothing answers
    there, RV(unanswered) says so, and the task does not fail. Snippets are not asked for a page.
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
      - Address to connect to, unless the service has a C(probe_address). By default the one address that the service
        listens on; else C(ansible_host), or 127.0.0.1 where the connection is local.
      - Where the controller cannot connect by default, or the service listens on a loopback address only, the host
        itself asks, without a certificate and with a forged one. No client's key is sent there. C(mtls_probe_from) of
        the host chooses who asks, V(controller), V(host), another host of the inventory by its name, or V(none).
    type: str
  crl_only:
    description:
      - Tests only what a new CRL can change - a client with a valid certificate must not get status 400, whatever the
        allow list says, and a revoked one must. No page is asked for.
      - A service that does not refuse a request without a certificate is left out. It may not be set up yet.
    type: bool
    default: false
  reloaded:
    description:
      - Whether nginx was reloaded just now.
      - Then those who must be refused are asked for many times, 64 requests to the host in all and eight at a time, to
        reach the workers of a second master process too, which a reload does not reach.
    type: bool
    default: false
  snippet_gates:
    description:
      - Where server blocks that include snippets can be asked, as RV(mtls.nginx.nginx_config#module:snippet_gates) of
        M(mtls.nginx.nginx_site). Port and server name are used, if it is one of the service's; the address is
        O(address).
      - Snippets that are not in it are not asked.
    type: list
    elements: dict
    default: []
  away:
    description:
      - Addresses of services that the host does not have now, as RV(mtls.nginx.nginx_facts#module:nginx.away). Such a
        service is not asked, because another machine may answer there.
      - Omitted, the host is asked for them, where a service listens on one address only.
    type: list
    elements: str
attributes:
  check_mode:
    description: Makes no request in check mode, because the service may not be there yet.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Test every service
  mtls.nginx.tls_probe:
    authority: "{{ inventory_dir }}/pki"
    services: "{{ mtls_services }}"
    address: "{{ mtls_probe_address | default(omit) }}"
"""

RETURN = r"""
attempts:
  description: The requests, each with the service and the answer - an HTTP status, or why there was none.
  type: list
  elements: dict
  returned: always
  sample:
    - {service: nas, who: no certificate, expected: "400", got: "400", ok: true}
    - {service: nas, who: "client iphone-admin, on the allow list", expected: let in, got: "200", ok: true}
asked_from:
  description: Services that were asked from another place than the controller, and why.
  type: list
  elements: dict
  returned: always
  sample:
    - {service: nas, place: host, why: since it listens on 127.0.0.1 only}
    - {service: wiki, place: bastion, why: as mtls_probe_from says}
not_asked:
  description: Services, and server blocks that include a snippet, that could not be asked.
  type: list
  elements: dict
  returned: always
  sample:
    - service: photos
      why: >-
        the server block in /etc/nginx/sites-enabled/photos, line 2 could not be asked: photos.example.com at
        192.0.2.10:443: connection refused
unanswered:
  description: Services whose gate opens, and that have nothing behind it.
  type: list
  elements: dict
  returned: always
  sample:
    - {service: wiki, why: "the gate opens, but http://127.0.0.1:23100 does not answer (502)"}
certificates:
  description:
    - The server certificates that are served, as far as a service answered. The task fails for one that has expired, is
      not for the service's names or is not the one that the authority has issued for it, unless O(crl_only=true).
  type: list
  elements: dict
  returned: always
  contains:
    service:
      description: Name of the service.
      type: str
      sample: nas
    issuer:
      description: Who issued it.
      type: str
      sample: CN=R11,O=Let's Encrypt,C=US
    fingerprint:
      description: SHA-256.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    names:
      description: Its DNS names and IP addresses.
      type: list
      elements: str
      sample: [nas.example.com]
    begin:
      description: From when on it is valid, in seconds since 1970.
      type: int
      sample: 1796300000
    end:
      description: When it expires.
      type: int
      sample: 1804076000
    own:
      description: Whether the service has a certificate of the host's own.
      type: bool
      sample: true
    stands_in:
      description: Whether one by the authority stands in for that.
      type: bool
      sample: false
    trouble:
      description: What keeps people away, as the end of a sentence; null if nothing does.
      type: str
      sample: null
"""
