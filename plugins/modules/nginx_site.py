# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nginx_site
short_description: Protect a host's services with mutual TLS
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
description:
  - Renders on the controller what a host should have - C(ca.crt), C(crl.pem), the maps, and a server block or a snippet
    for each service - and passes it to M(mtls.nginx.nginx_config), which installs it in one transaction.
  - Reads the certificates of the clients on an allow list from the authority's directory on the controller.
    The private key of the CA stays there, and those of clients, except one that a service's C(upstream_tls.client)
    names, and sealed C(.p12) files where clients renew through the gate (C(self_renewal)).
  - If nothing differs, the host is asked once only. The role P(mtls.nginx.server#role) uses it.
  - Installs no CRL that has expired or soon will, that another CA signed, or that contains anything but a CRL.
  - Fails, in check mode too, instead of installing another CA than the host trusts, a CRL that is older than its own,
    has its number and another content, or lacks a certificate that is still valid, and a CRL or CA that is not valid by
    the host's clock.
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
  settings:
    description:
      - What is the same for all of the host's services.
      - Left out, the variables of the role P(mtls.nginx.server#role) say it, such as C(mtls_nginx_binary).
    type: dict
    suboptions:
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
      crl_min_days:
        description: The task fails instead of installing a CRL that expires within this many days. Not in check mode,
          because the real run may renew it.
        type: int
        default: 3
      replace_authority:
        description:
          - Whether another CA may replace the one that the host trusts, which locks out every client that has a
            certificate. Otherwise that is refused, unless one of the CAs stays, as during a rollover.
          - Not with O(crl_only=true).
        type: bool
        default: false
      error_pages:
        description: Whether people who are refused see a page in plain words. The status is the same.
        type: bool
        default: true
      contact:
        description: Whom people who are refused may ask. Strangers see it too.
        type: dict
        suboptions:
          name:
            description: A person or a team.
            type: str
            required: true
          url:
            description: Where to reach them, such as C(mailto:ana@example.com).
            type: str
      error_page_template:
        description:
          - A Jinja2 template on the controller for these pages, which knows C(title), C(text) (a list of paragraphs),
            C(reason), C(contact) (C(name) and C(url), or nothing) and C(link) (to the same address with https).
          - A relative path starts at the inventory's directory.
          - Left out, the collection's own is used.
        type: str
      shutdown_timeout:
        description: Passed to O(mtls.nginx.nginx_config#module:shutdown_timeout), as 0 if no service is left.
        type: int
        default: 60
      restart:
        description: Passed to O(mtls.nginx.nginx_config#module:restart), as V(false) if no service is left.
        type: bool
      session_resumption:
        description:
          - Whether clients that return may resume their TLS session. V(auto) does so where it is safe; V(off) keeps no
            sessions.
        type: str
        choices: [auto, 'off']
        default: auto
      textfile_dir:
        description:
          - Folder of the node exporter's textfile collector on the host. The expiry dates of the CRL and the
            certificates are written there, to C(mtls_nginx.prom). See O(mtls.nginx.nginx_config#module:textfile).
          - Left out, none are written.
        type: path
      crl_url:
        description:
          - The host fetches the CRL of the authority in O(authority) from this address by itself, see
            M(mtls.nginx.nginx_crl_fetch). Left out, with O(settings.crl_urls) empty, that is removed.
          - Not with O(crl_only=true).
        type: str
      crl_urls:
        description: The same for other authorities that services name, by their directories.
        type: dict
        default: {}
      crl_fetch_minutes:
        description: How often, in minutes.
        type: int
        default: 60
      self_renewal:
        description: Whether clients fetch their next certificate at services that do not say it themselves.
        type: bool
        default: false
      host_notify_command:
        description:
          - A program on the host with its arguments, which is run when no run has reached the host for
            O(settings.upkeep_warn_days).
          - Not with O(crl_only=true).
        type: list
        elements: str
        default: []
      upkeep_warn_days:
        description: After how many days.
        type: int
        default: 3
      acme:
        description:
          - How services with C(certificate=acme) get their certificates, as C(mtls_acme) describes it.
          - They have one by the authority, until certbot has obtained theirs in the same call.
        type: dict
      crl_server:
        description: A host that serves its CRL to others, without TLS, as C(/crl.pem).
        type: dict
        suboptions:
          host:
            description: Which one. Only if it is this one, something is done.
            type: str
            required: true
          server_name:
            description: The name it is served under.
            type: str
            required: true
          port:
            description: The port.
            type: int
            default: 80
  crl_only:
    description: Installs the CRL and nothing else, whatever else differs. For hosts whose services are set up already.
    type: bool
    default: false
  require_nginx:
    description:
      - With V(false), nothing is done if nginx is not installed, so that it can be installed; see RV(installed).
      - Otherwise that is an error, and in check mode everything is shown as new. The same holds for O(crl_only=true).
    type: bool
    default: true
  foreseen:
    description: In check mode, the results of M(mtls.nginx.crl) in a loop over C(mtls__crl_of) - what it would revoke.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description:
      - Changes nothing, and says whether the host's nginx would accept the result. Temporary certificates
        stand in for those that the authority has not issued yet.
    support: full
  diff_mode:
    description: Shows every file but private keys.
    support: full
seealso:
  - module: mtls.nginx.nginx_config
"""

EXAMPLES = r"""
- name: Protect the services, in one transaction
  mtls.nginx.nginx_site:
    authority: "{{ inventory_dir }}/pki"
    services:
      - name: nas
        server_names: [nas.example.com]
        upstream: http://127.0.0.1:5000
        allow: [iphone-admin]

- name: Install a renewed CRL
  mtls.nginx.nginx_site:
    authority: "{{ inventory_dir }}/pki"
    services: "{{ mtls_services }}"
    crl_only: true
"""

RETURN = r"""
installed:
  description: Whether nginx is installed.
  type: bool
  returned: success, unless O(crl_only=true)
  sample: true
systemd:
  description: Whether systemd runs the host's services.
  type: bool
  returned: success, unless O(crl_only=true)
  sample: true
away:
  description: Addresses on which services listen, and that the host does not have now.
  type: list
  elements: str
  returned: success, unless O(crl_only=true)
  sample: []
access:
  description: Who gains and who loses entry, compared with what the host had.
  type: dict
  returned: success
  contains:
    compared:
      description: Whether it could be compared. If not, RV(access.changes) is empty.
      type: bool
      sample: true
    authorities:
      description: The directories of the authorities whose clients enter.
      type: list
      elements: str
      sample: [/srv/inventory/pki]
    changes:
      description: The services, and the paths with a list of their own, for which something changes.
      type: list
      elements: dict
      contains:
        service:
          description: The service.
          type: str
          sample: wiki
        path:
          description: The path, empty for the service itself.
          type: str
          sample: ""
        state:
          description: V(new), V(gone) or empty.
          type: str
          sample: ""
        opened:
          description: In words, how somebody enters now who is on no list.
          type: list
          elements: str
          sample: [open to every client]
        closed:
          description: In words, how somebody entered before.
          type: list
          elements: str
          sample: []
        gained:
          description: The clients that gain entry.
          type: list
          elements: str
          sample: [laptop, tablet]
        lost:
          description: The clients that lose it, each with the reason.
          type: list
          elements: list
          sample: [[lost-phone, revoked]]
stand_ins:
  description: Why services have a certificate by the authority instead of the host's own, by service.
  type: dict
  returned: success
  sample: {nas: "/etc/ssl/nas.pem is not there, so a certificate by the authority stands in"}
obtained:
  description: The services for which certbot has obtained a certificate, if it was asked for any.
  type: list
  elements: str
  returned: changed
  sample: [nas]
refused:
  description: Clients that are on an allow list but revoked, by service.
  type: dict
  returned: success
  sample: {nas: [lost-phone]}
"""
