# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_facts
short_description: Report a host's nginx and its configuration
description:
  - Reports the installed nginx, its configuration and whether it runs, in one fast call.
  - Returns no Ansible facts. A host's answer never becomes a variable, which could override one of the inventory.
  - Changes nothing. It needs root to read private keys, as C(nginx -t) does.
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
options:
  binary:
    description: nginx's program, by name or path.
    type: str
    default: nginx
  conf_path:
    description: nginx's main configuration file.
    type: path
    default: /etc/nginx/nginx.conf
  test:
    description: Whether to run C(nginx -t) for RV(nginx.config_error). Otherwise that is null.
    type: bool
    default: true
  compare:
    description:
      - What M(mtls.nginx.nginx_config) would be called with, without the contents of files. RV(nginx.comparison) says
        how the host differs from it.
      - For M(mtls.nginx.nginx_site), which then needs no second call if nothing differs.
      - Except in check mode, the time of O(compare.textfile) is set, and of what tells the host's own timer when it
        last heard from the controller.
    type: dict
    suboptions:
      paths:
        description: The files that must be there, or must not.
        type: list
        elements: path
        required: true
      owned:
        description: As O(mtls.nginx.nginx_config#module:owned).
        type: list
        elements: path
        default: []
      shutdown_timeout:
        description: As O(mtls.nginx.nginx_config#module:shutdown_timeout).
        type: int
      restart:
        description: As O(mtls.nginx.nginx_config#module:restart).
        type: bool
      textfile:
        description: As O(mtls.nginx.nginx_config#module:textfile).
        type: dict
      renewals:
        description: The folder of O(mtls.nginx.nginx_config#module:renewals).
        type: path
      snippets:
        description: As O(mtls.nginx.nginx_config#module:snippets).
        type: list
        elements: dict
        default: []
        suboptions:
          service:
            description: Name of the service.
            type: str
            required: true
          path:
            description: The file.
            type: path
            required: true
          exempt:
            description: Whether it has exempt networks.
            type: bool
            default: false
          server_names:
            description: As O(mtls.nginx.nginx_config#module:snippets[].server_names).
            type: list
            elements: str
            default: []
      certificates:
        description: Server certificates of the host's own that services want, for RV(nginx.certificates).
        type: list
        elements: dict
        default: []
        suboptions:
          service:
            description: Name of the service.
            type: str
            required: true
          path:
            description: The certificate.
            type: path
            required: true
          key:
            description: Its private key.
            type: path
            required: true
          server_names:
            description: The names that it must be for.
            type: list
            elements: str
            default: []
          server_block:
            description: The service's file.
            type: path
            required: true
          address:
            description: Where the service is asked for the certificate that it serves.
            type: str
            default: 127.0.0.1
          port:
            description: On which port.
            type: int
          server_name:
            description: For which name.
            type: str
            default: ""
          proxy_protocol:
            description: Whether it expects the PROXY protocol.
            type: bool
            default: false
      acme:
        description: Which certificates certbot is to have for this nginx, for RV(nginx.acme).
        type: dict
        suboptions:
          hook:
            description: The program that certbot runs when it has renewed one. By it, ours are known.
            type: path
            required: true
          lineages:
            description:
              - How certbot is to renew, by its names of certificates. Each has C(server_names), C(directory_url),
                C(webroot) and C(profile), as in M(mtls.nginx.nginx_acme).
            type: dict
            default: {}
  expected:
    description:
      - Files of CA certificates and of CRLs, each with the fingerprint that it should have, see
        RV(nginx.comparison.fingerprints); null if that is unknown.
      - RV(nginx.trust) has the contents of those that differ.
    type: dict
    default: {}
  names:
    description: Host names for RV(nginx.names).
    type: list
    elements: str
    default: []
  addresses:
    description: Addresses for RV(nginx.away).
    type: list
    elements: str
    default: []
  ask:
    description:
      - Gates to ask from the host itself, for RV(nginx.asked). No client's key is sent there, so that only callers who
        must be refused can be tried.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
      server_name:
        description: The server name.
        type: str
        required: true
      proxy_protocol:
        description: Whether to begin with a line of the PROXY protocol.
        type: bool
        default: false
      identity:
        description: A certificate that opens nothing, with its key, in PEM. Omitted - none is presented.
        type: str
  server_names:
    description: Server names of services, by service, for RV(nginx.snippet_gates).
    type: dict
    default: {}
  system_ca:
    description: Whether to look for RV(nginx.system_ca). Otherwise that is null.
    type: bool
    default: false
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
  - module: mtls.nginx.nginx_config
"""

EXAMPLES = r"""
- name: Look at nginx
  mtls.nginx.nginx_facts:
  become: true
  register: looked

- name: Stop where the host's own configuration is broken
  ansible.builtin.assert:
    that: looked.nginx.config_error is none
    fail_msg: "{{ looked.nginx.config_error }}"
"""

RETURN = r"""
nginx:
  description: nginx on this host.
  returned: always
  type: dict
  contains:
    installed:
      description: Whether the program was found. Otherwise values that depend on it are null.
      type: bool
      sample: true
    binary:
      description: Path of the program.
      type: str
      sample: /usr/sbin/nginx
    version:
      description: Its version.
      type: str
      sample: 1.22.1
    conf_path:
      description: The main configuration file.
      type: str
      sample: /etc/nginx/nginx.conf
    conf_dir:
      description: The folder of the main configuration file.
      type: str
      sample: /etc/nginx
    running:
      description: Whether nginx runs with that configuration file.
      type: bool
      sample: true
    upgrading:
      description: Whether worker processes of another master answer on its sockets, as in a binary upgrade.
      type: bool
      sample: false
    includes_conf_d:
      description: Whether files like C(conf.d/mtls.conf) in that folder are included in the C(http) block.
      type: bool
      sample: true
    config_error:
      description: What C(nginx -t) says of the host's current configuration; null if it accepts it.
      type: str
      sample: '[emerg] unknown directive "sever" in /etc/nginx/sites-enabled/shop:1'
    directives:
      description:
        - Values that the host's own files set in the C(http) block (worker_shutdown_timeout in the main context),
          null where there is none. What this collection wrote does not count.
      type: dict
      sample:
        client_header_timeout: null
        map_hash_bucket_size: "128"
        resolver: null
        server_names_hash_bucket_size: null
        set_real_ip_from: null
        ssl_session_cache: shared:SSL:10m
        variables_hash_bucket_size: null
        variables_hash_max_size: null
        worker_shutdown_timeout: null
    unguarded:
      description: Snippets of this collection that no server block includes, so that they protect nothing.
      type: list
      elements: str
      sample: [/etc/nginx/snippets/mtls-photos.conf]
    snippet_gates:
      description: As RV(mtls.nginx.nginx_config#module:snippet_gates), of the snippets in O(server_names).
      type: list
      elements: dict
      sample: []
    snippet_error:
      description: Why one does not protect the server block that includes it; null if none is misplaced.
      type: str
      sample: null
    elsewhere:
      description: As RV(mtls.nginx.nginx_config#module:elsewhere).
      type: list
      elements: dict
      sample: []
    socket_error:
      description: Why another server block answers at some address under a service's name; null if none does.
      type: str
      sample: null
    ssi:
      description:
        - Whether nginx has its SSI module, of which the variable C($date_gmt) is. Null where nginx is not installed.
      type: bool
      sample: true
    own_ports:
      description: The TCP ports on which server blocks of the host's own listen; null if that is not known.
      type: list
      elements: int
      sample: [80]
    ipv6:
      description: Whether the host can open an IPv6 socket.
      type: bool
      sample: true
    away:
      description: Those of O(addresses) that the host does not have now.
      type: list
      elements: str
      sample: []
    asked:
      description: The answers to O(ask), in the same order.
      type: list
      elements: dict
      contains:
        status:
          description: The HTTP status, null if there was none.
          type: int
          sample: 400
        error:
          description: Why there was none.
          type: str
          sample: null
      sample: [{status: 400, error: null}]
    systemd:
      description: Whether systemd runs the host's services.
      type: bool
      sample: true
    name_servers:
      description: The name servers in C(/etc/resolv.conf) as nginx writes them, where O(names) are given.
      type: list
      elements: str
      sample: [192.0.2.53, "[2001:db8::53]"]
    kept:
      description:
        - Of O(names), the C(upstream) blocks of the host's own whose idle connections nginx keeps (C(keepalive)), and
          whether a server block of the host's own uses them too.
      type: dict
      sample: {}
    system_ca:
      description: Path of the host's bundle of public CAs, null where there is none.
      type: str
      sample: /etc/ssl/certs/ca-certificates.crt
    names:
      description: What to ask name servers for, for each of O(names) - with a search domain, where one applies - and
        null if the host knows it from elsewhere, from C(/etc/hosts), as C(.local), or as an C(upstream) of nginx.
      type: dict
      sample: {app.example.com: app.example.com, app: app.example.com, localhost: null}
    comparison:
      description: How the host differs from O(compare), null where that was not given or nginx is not installed.
      type: dict
      contains:
        settled:
          description: Whether nothing but the files of O(compare.paths) can differ.
          type: bool
          sample: true
        fingerprints:
          description: Mode and SHA-256 of each file that belongs to whoever runs this, null where there is none.
          type: dict
          sample:
            /etc/nginx/client-certs/crl.pem: 0644 4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865
            /etc/nginx/snippets/mtls-nas.conf: null
        own_shutdown_timeout:
          description: As RV(mtls.nginx.nginx_config#module:own_shutdown_timeout).
          type: dict
          sample: null
        unguarded:
          description: As RV(mtls.nginx.nginx_config#module:unguarded).
          type: list
          elements: dict
          sample: []
        snippet_gates:
          description: As RV(mtls.nginx.nginx_config#module:snippet_gates).
          type: list
          elements: dict
          sample: []
    certificates:
      description:
        - The host's own server certificates, by service - those in O(compare.certificates). Without O(compare), all
          that our server blocks name; then nobody is asked for what is served.
      type: dict
      sample:
        nas:
          path: /etc/letsencrypt/live/nas/fullchain.pem
          state: good
          why: null
          in_use: true
          stale: false
          fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
          end: 1798900000
    acme:
      description: How certbot's settings differ from O(compare.acme), null where that was not given.
      type: dict
      contains:
        outdated:
          description: Certificates that certbot would renew in another way, or does not know.
          type: list
          elements: str
          sample: [mtls-nas]
        abandoned:
          description: Certificates that certbot renews for this nginx, and no service wants any more.
          type: list
          elements: str
          sample: []
    python:
      description: The Python that runs this.
      type: str
      sample: /usr/bin/python3
    trust:
      description: What the host trusts now.
      type: dict
      contains:
        clock:
          description: The host's time, in seconds since 1970.
          type: float
          sample: 1796310000.5
        held:
          description: The certificates and CRLs in those files of O(expected) that exist and differ.
          type: dict
          sample:
            /etc/nginx/client-certs/ca.crt:
              certificates:
                - subject: CN=Acme Root CA,O=Acme
                  fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
                  key: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
                  begin: 1796300000
                  end: 2111660000
              crls: []
            /etc/nginx/client-certs/crl.pem:
              certificates: []
              crls:
                - issuer: CN=Acme Root CA,O=Acme
                  name: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
                  key_identifier: 6f1d2e3c4b5a69788796a5b4c3d2e1f00f1e2d3c
                  number: "c"
                  begin: 1796300000
                  end: 1798900000
                  content: baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096
    init_script:
      description: Path of nginx's init script, null where there is none.
      type: str
      sample: /etc/init.d/nginx
    crl_fetch:
      description: How the host fetches its CRL by itself, see M(mtls.nginx.nginx_crl_fetch); null if it does not.
      type: dict
      contains:
        digest:
          description: SHA-256 of program and settings, null if the timer is not what it should be or does not run.
          type: str
          sample: 4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865
        success:
          description: When all CRLs were last fetched and found good, in seconds since 1970; 0 if never.
          type: float
          sample: 1796310000.5
        failures:
          description: Why the last attempts failed, for those that did.
          type: list
          elements: str
          sample: []
"""

import glob
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import run_module
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    crl_place,
    nginx_conf,
    nginx_process,
    survey,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host import facts as host_facts
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    Renewals,
    Snippet,
    textfile_from,
)


def gather(
    binary: str | None,
    conf_path: str,
    names: Sequence[str] = (),
    server_names: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return the facts that need no test of the configuration; ``binary`` is None where nginx is not installed."""
    facts = host_facts.begin(binary, conf_path)
    if binary is None:
        return {**facts, **_names(names, None)}
    nginx = nginx_process.Nginx(binary, conf_path)
    facts.update(host_facts.of_nginx(nginx))
    try:
        facts.update(_configuration(nginx, names, server_names or {}))
    except OSError as error:
        facts["config_error"] = f"{error.filename}: {error.strerror}"
    return facts


def config_error(binary: str, conf_path: str, scratch_parent: str | None) -> str | None:
    """Return what nginx says of the current configuration; None when it accepts it."""
    # Only here: where nginx is not asked, what asks it need not be loaded.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_stage

    try:
        verdict = nginx_stage.try_out(nginx_process.Nginx(binary, conf_path), {}, scratch_parent=scratch_parent)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    except MtlsError as error:
        return str(error)
    return None if verdict.accepted else "; ".join(verdict.problems)


def compare(binary: str, conf_path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the value ``comparison``."""
    request = ChangeRequest(
        owned=options["owned"],
        shutdown_timeout=options["shutdown_timeout"],
        restart=options["restart"],
        textfile=textfile_from(options["textfile"]),
        snippets=[Snippet(**snippet) for snippet in options["snippets"]],
        renewals=Renewals(options["renewals"]) if options["renewals"] else None,
    )
    found = survey.look(conf_path, options["paths"], request, binary)
    return {
        "settled": found.settled,
        "fingerprints": found.fingerprints,
        "own_shutdown_timeout": found.own_bound._asdict() if found.own_bound else None,
        **found.snippets.as_answer(),
    }


def crl_fetch_facts(conf_path: str, *, systemd: bool) -> dict[str, Any] | None:
    """Return the value ``crl_fetch``."""
    place = crl_place.Place.of(conf_path)
    if not place.exists:
        return None
    # Only here: most hosts do not fetch.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_timer

    return crl_timer.facts(place, systemd=systemd)


def _configuration(
    nginx: nginx_process.Nginx, names: Sequence[str], server_names: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    configuration = nginx_conf.load(nginx.conf_path)
    return {
        **host_facts.of_configuration(nginx, configuration),
        **_names(names, configuration),
        **_snippets(nginx, configuration, server_names),
        **_sockets(configuration),
    }


def _sockets(configuration: nginx_conf.Configuration) -> dict[str, Any]:
    """Return for which services another server block answers at some address, and which of those is no gate of ours."""
    if not nginx_conf.has_overlaps(configuration):
        return {}
    # Only here: on most hosts all listen on every address.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import overlaps

    try:
        return {"elsewhere": overlaps.places(overlaps.elsewhere(configuration)), "socket_error": None}
    except MtlsError as error:
        return {"elsewhere": [], "socket_error": str(error)}


def _away(wanted: Sequence[str]) -> list[str]:
    # Only here: most services listen on every address.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import addresses

    return addresses.away(wanted)


def _asked(*, address: str, port: int, server_name: str, proxy_protocol: bool, identity: str | None) -> dict[str, Any]:
    """Ask a gate from here; return what it answers."""
    # Only here: most hosts are asked by the controller.
    from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

    target = probe.Target(address, port, server_name, proxy_protocol)
    with tempfile.NamedTemporaryFile(prefix="mtls-probe-") as file:  # mode 0600
        file.write((identity or "").encode())
        file.flush()
        attempt = probe.Attempt("somebody", None, file.name if identity else None)
        outcome = probe.ask(target, attempt)
    return {"status": outcome.status, "error": outcome.error}


def _names(names: Sequence[str], configuration: nginx_conf.Configuration | None) -> dict[str, Any]:
    if not names:
        return {"name_servers": [], "names": {}, "kept": {}}
    # Only here: most upstreams are addresses.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import resolver

    found = resolver.look_up(names, configuration)
    return {"name_servers": found.servers, "names": found.names, "kept": found.kept}


def _snippets(
    nginx: nginx_process.Nginx, configuration: nginx_conf.Configuration, server_names: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return what is wrong with where our snippets are included, and where they can be asked."""
    pattern = re.compile(re.escape(os.path.join(nginx.conf_dir, "snippets")) + r"/mtls-([^/]+)\.conf")
    found = [
        Snippet(match[1], match[0], server_names=[name.lower() for name in server_names.get(match[1], ())])
        for match in map(pattern.fullmatch, sorted(glob.glob(f"{nginx.conf_dir}/snippets/*")))
        if match
    ]
    try:
        places = survey.snippet_places(nginx.conf_path, found, configuration)
    except MtlsError as error:
        return {"snippet_error": str(error)}
    return {**places.as_answer(), "unguarded": [snippet.path for snippet in places.unguarded]}


def _certificates(facts: dict[str, Any], options: dict[str, Any] | None) -> dict[str, Any]:
    """Return the value ``certificates``."""
    if options is not None and not options["certificates"]:
        return {}
    # Only here: most hosts have no certificate of their own.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import server_certificates

    if options is None:
        found = server_certificates.in_place(facts["conf_dir"])
    else:
        wanted = [server_certificates.OwnCertificate(**item) for item in options["certificates"]]
        away = facts["away"]  # there another machine answers
        found = {
            own.service: server_certificates.look(own, running=facts["running"] and own.address not in away)
            for own in wanted
        }
    return {service: finding.as_answer() for service, finding in found.items()}


def _acme(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the value ``acme``."""
    if options is None or options["acme"] is None:
        return None
    if not options["acme"]["lineages"] and not os.path.isdir(host_facts.ACME_RENEWALS):
        return {"outdated": [], "abandoned": []}
    # Only here: most hosts have no certbot.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import acme_lineages

    return acme_lineages.compare(**options["acme"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "str", "default": "nginx"},
            "conf_path": {"type": "path", "default": nginx_process.DEFAULT_CONF},
            "test": {"type": "bool", "default": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "server_names": {"type": "dict", "default": {}},
            "compare": {
                "type": "dict",
                "options": {
                    "paths": {"type": "list", "elements": "path", "required": True},
                    "owned": {"type": "list", "elements": "path", "default": []},
                    "shutdown_timeout": {"type": "int"},
                    "restart": {"type": "bool"},
                    "textfile": {"type": "dict"},
                    "renewals": {"type": "path"},
                    "snippets": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "service": {"type": "str", "required": True},
                            "path": {"type": "path", "required": True},
                            "exempt": {"type": "bool", "default": False},
                            "server_names": {"type": "list", "elements": "str", "default": []},
                        },
                    },
                    "certificates": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "service": {"type": "str", "required": True},
                            "path": {"type": "path", "required": True},
                            "key": {"type": "path", "required": True, "no_log": False},
                            "server_names": {"type": "list", "elements": "str", "default": []},
                            "server_block": {"type": "path", "required": True},
                            "address": {"type": "str", "default": "127.0.0.1"},
                            "port": {"type": "int"},
                            "server_name": {"type": "str", "default": ""},
                            "proxy_protocol": {"type": "bool", "default": False},
                        },
                    },
                    "acme": {
                        "type": "dict",
                        "options": {
                            "hook": {"type": "path", "required": True},
                            "lineages": {"type": "dict", "default": {}},
                        },
                    },
                },
            },
            "expected": {"type": "dict", "default": {}},
            "system_ca": {"type": "bool", "default": False},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "ask": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "server_name": {"type": "str", "required": True},
                    "proxy_protocol": {"type": "bool", "default": False},
                    "identity": {"type": "str", "no_log": True},
                },
            },
        },
        supports_check_mode=True,
    )

    def work() -> dict[str, Any]:
        binary = module.get_bin_path(module.params["binary"], opt_dirs=nginx_process.PROGRAM_DIRS)
        conf_path = module.params["conf_path"]
        facts = gather(binary, conf_path, module.params["names"], module.params["server_names"])
        if binary is not None and module.params["test"]:
            facts["config_error"] = facts["config_error"] or config_error(binary, conf_path, module.tmpdir)
        if binary is not None and module.params["compare"]:
            facts["comparison"] = compare(binary, conf_path, module.params["compare"])
            if not module.check_mode:
                crl_place.note_that_the_controller_came(
                    conf_path, (module.params["compare"]["textfile"] or {}).get("path")
                )
            if facts["upgrading"] or facts["socket_error"]:  # who carries the request out says what to do
                facts["comparison"]["settled"] = False
        if module.params["addresses"]:
            facts["away"] = _away(module.params["addresses"])
        if module.params["ask"]:
            facts["asked"] = [_asked(**gate) for gate in module.params["ask"]]
        if module.params["system_ca"]:
            # Only here: most hosts verify no upstream, or with a CA of their own.
            from ansible_collections.mtls.nginx.plugins.module_utils.host import system_ca

            facts["system_ca"] = system_ca.bundle()
        facts["certificates"] = _certificates(facts, module.params["compare"])
        facts["acme"] = _acme(module.params["compare"])
        facts["crl_fetch"] = crl_fetch_facts(conf_path, systemd=facts["systemd"])
        facts["trust"] = {"clock": time.time(), "held": survey.held(module.params["expected"])}
        return {"changed": False, "nginx": facts}

    run_module(module, work)


if __name__ == "__main__":
    main()
