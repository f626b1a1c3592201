# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_config
short_description: Change nginx's configuration in one transaction
description:
  - Installs a set of configuration files, certificates and keys together, and makes nginx serve with them.
  - Compares first. If nothing differs and nginx runs, nothing else is done.
  - Otherwise tests the new configuration with the host's nginx in a scratch folder, puts the files in place, runs
    C(nginx -t), reloads nginx (or starts it, if it does not run), waits until new worker processes have taken over, and
    finally makes the requests in O(probes).
  - If any step fails, all files are byte for byte what they were, nginx serves with them, and the error quotes nginx.
  - If the change is in place, but some worker process does not have it, because a binary upgrade of nginx is under way,
    the module fails and says how to end the upgrade.
  - A run that was killed is undone by the next one, before anything else.
  - In check mode nothing is written, but nginx is asked all the same, and the module fails if it rejects the result.
version_added: 0.1.0
author: the mtls.nginx authors (@mtls-nginx)
options:
  files:
    description: Files that must be there. A file that ends in C(.conf) must have C(# Managed by mtls.nginx) in one of
      its first lines, and one that exists without that line is left alone, with an error.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host. Missing folders are created with mode 0755.
        type: path
        required: true
      content:
        description: The text.
        type: str
        required: true
      mode:
        description: Permissions, as an octal number in quotes.
        type: str
        default: "0644"
  secrets:
    description: Private keys that must be there, with mode 0600. They appear in no diff, log or temporary file but the
      one that is renamed into place.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      content:
        description: The key's text.
        type: str
        required: true
  absent:
    description: Files that must not be there. A C(.conf) file that this module did not write is an error.
    type: list
    elements: path
    default: []
  owned:
    description:
      - Patterns of files that only this module writes, for example C(/etc/nginx/conf.d/mtls-*.conf).
      - A file of this collection that matches one and is neither in O(files) nor in O(absent) is an error, because
        nginx would keep serving it unnoticed.
    type: list
    elements: path
    default: []
  probes:
    description:
      - HTTPS requests for C(/.mtls-nginx-gate) without a client certificate, made on the host after the reload.
      - One that gets another status than expected fails the transaction. The server's certificate is not verified.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Address to connect to.
        type: str
        default: 127.0.0.1
      port:
        description: Port to connect to.
        type: int
        required: true
      server_name:
        description: Name for SNI and the C(Host) header.
        type: str
        required: true
      expect:
        description: Status that must come back.
        type: int
        default: 400
      proxy_protocol:
        description: Whether the port expects a line of the PROXY protocol before TLS.
        type: bool
        default: false
  snippets:
    description:
      - Those of O(files) that server blocks of the host's own include; and those with a server block that has exempt
        networks.
      - One that comes after a C(rewrite), C(if), C(break) or C(return) of its block is an error, because it would not
        protect that block. One that is included nowhere is written all the same; RV(unguarded) and a warning say so.
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
        description: Whether it lets in without a certificate whoever comes from some networks. Behind a proxy, by the
          PROXY protocol or C(set_real_ip_from), that is an error.
        type: bool
        default: false
      server_names:
        description: The service's server names, for RV(snippet_gates).
        type: list
        elements: str
        default: []
  shutdown_timeout:
    description:
      - Seconds after which old worker processes end the connections that outlive a reload - websockets, running
        downloads, and connections that have not made a request yet. Until then the old configuration applies to them,
        and without a limit that may be for days.
      - Sets C(worker_shutdown_timeout), in a file of its own where nginx's main context includes a folder, else in a
        marked line of O(conf_path). A worker process keeps the limit with which it was started.
      - A host that sets C(worker_shutdown_timeout) itself keeps it, and if that is longer, a warning says so.
      - V(0) removes what this module wrote. Left out, nothing is changed.
    type: int
  restart:
    description:
      - Whether systemd starts nginx again five seconds after it has failed, however often - after a power cut, when a
        name or an address comes later than nginx, that is what brings it up.
      - Writes C(/etc/systemd/system/nginx.service.d/10-mtls-nginx.conf), where systemd runs the nginx with the default
        O(conf_path), and its unit has no C(Restart=) itself. Drop-ins of the host's own count more.
      - It is written after nginx has been reloaded. If it cannot be written, that is a warning.
      - V(false) removes it. Left out, nothing is changed.
    type: bool
  textfile:
    description:
      - Writes the expiry dates of the CRL and the certificates, as found on the host, for the textfile collector of
        Prometheus' node exporter. The file is readable by everybody.
      - Every run sets the time of that file, so that its age shows when the host last heard from the controller.
      - It is written last. A symbolic link of that name is replaced. If it cannot be written, that is a warning.
      - The metrics are C(mtls_nginx_crl_next_update_timestamp_seconds), C(mtls_nginx_ca_not_after_timestamp_seconds)
        and C(mtls_nginx_server_certificate_not_after_timestamp_seconds) with the label C(service).
    type: dict
    suboptions:
      path:
        description: Absolute path of the text file. Its name should end in C(.prom).
        type: path
        required: true
      authorities:
        description: The authorities whose clients enter.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: The value of the label C(authority); empty for an authority without the label.
            type: str
            required: true
          ca:
            description: Path of the CA certificates.
            type: path
            required: true
          crl:
            description: Path of the CRL.
            type: path
            required: true
      certificates:
        description: The server certificates.
        type: list
        elements: dict
        default: []
        suboptions:
          service:
            description: Name of the service.
            type: str
            required: true
          path:
            description: Path of the certificate.
            type: path
            required: true
  renewals:
    description:
      - What clients fetch through the gate, in a folder of its own. Root writes the files, and nginx's workers alone
        may read them besides. Whatever else is in the folder is removed.
      - They appear in no diff, log or temporary file but the one that is renamed into place.
    type: dict
    version_added: 0.1.0
    suboptions:
      folder:
        description: Absolute path of the folder.
        type: path
        required: true
      files:
        description: The files that must be there.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The file's name in the folder.
            type: str
            required: true
          content:
            description: What is in it, in Base64.
            type: str
            required: true
      stay:
        description: The names of further files that may stay as they are.
        type: list
        elements: str
        default: []
  guard:
    description:
      - Protects the host from older files than it has. It is checked just before the files are put in place.
      - Whether this is given or not, a CRL never replaces a newer one by the same CA - one with a higher number, with
        the same number and another content, or one that lists more. If a CRL has no number, its thisUpdate counts. Nor
        is a CRL put in place that is not valid by the host's clock.
    type: dict
    suboptions:
      host:
        description: The host's name, for messages.
        type: str
        default: this host
      clock:
        description: The controller's time in seconds since 1970, to say by how much the host's clock is off.
        type: float
      authorities:
        description: The authorities whose clients enter.
        type: list
        elements: dict
        default: []
        suboptions:
          directory:
            description: The authority's directory on the controller, for messages.
            type: str
            required: true
          ca:
            description: Path of the CA certificates on the host. If there are any, one must be among the authority's.
            type: path
            required: true
          crl:
            description: Path of the CRLs on the host.
            type: path
            required: true
          certificates:
            description: The authority's CA certificates, in PEM.
            type: str
            required: true
      replace_authority:
        description: Whether another CA may replace the one that the host trusts.
        type: bool
        default: false
      forgettable:
        description: Serial numbers on the host's CRL that a newer one need not list, because they have expired.
        type: list
        elements: str
        default: []
  access:
    description: Asks for RV(access), who could enter before, which is read from the host's maps and CRLs.
    type: dict
    version_added: 0.1.0
    suboptions:
      maps:
        description: The file with the services' maps.
        type: path
        required: true
      revoked:
        description: Files with the serials of a CRL, as lines of a map. They are compared with those in O(files).
        type: list
        elements: path
        default: []
  close_rejected:
    description:
      - For files that must be installed whatever else is wrong on the host, such as a CRL.
      - If nginx rejects the host's configuration even without these files, the server blocks of this collection that
        it rejects are closed - they refuse everybody - and the others get the files.
      - If nginx rejects something outside such a block, the files are put in place for its next start, and the next
        run reloads nginx if possible.
      - The task fails in both cases, and names the broken file and nginx's reason.
    type: bool
    default: false
    version_added: 0.1.0
  reload:
    description: Reloads nginx even if no file differs, for use in a handler.
    type: bool
    default: false
  start:
    description: Whether nginx is started if it does not run. Without that, whatever holds its ports does not matter.
    type: bool
    default: true
    version_added: 0.1.0
  binary:
    description: nginx's program, by name or path.
    type: str
    default: nginx
  conf_path:
    description:
      - nginx's main configuration file.
      - With the default one, nginx is started by systemd or its init script, if the host has them. With any other, the
        program is started with C(-c).
    type: path
    default: /etc/nginx/nginx.conf
attributes:
  check_mode:
    description: Changes nothing in check mode, and says what would change and whether nginx would accept it.
    support: full
  diff_mode:
    description: Shows what changes in the files, except for private keys.
    support: full
  platform:
    description: Target systems it runs on.
    support: full
    platforms: linux
seealso:
  - module: mtls.nginx.nginx_facts
"""

EXAMPLES = r"""
- name: Protect a service with client certificates
  mtls.nginx.nginx_config:
    files:
      - path: /etc/nginx/client-certs/ca.crt
        content: "{{ lookup('ansible.builtin.file', 'pki/ca.crt') }}"
      - path: /etc/nginx/client-certs/crl.pem
        content: "{{ lookup('ansible.builtin.file', 'pki/crl.pem') }}"
      - path: /etc/nginx/conf.d/mtls-nas.conf
        content: "{{ lookup('ansible.builtin.template', 'nas.conf.j2') }}"
    secrets:
      - path: /etc/nginx/server-certs/nas.key
        content: "{{ lookup('ansible.builtin.file', 'pki/servers/nas/nas.key') }}"
    shutdown_timeout: 60
    owned:
      - /etc/nginx/conf.d/mtls-*.conf
    probes:
      - port: 443
        server_name: nas.example.com
        expect: 400
  become: true

- name: Remove it again
  mtls.nginx.nginx_config:
    absent:
      - /etc/nginx/conf.d/mtls-nas.conf
      - /etc/nginx/server-certs/nas.key
    shutdown_timeout: 0
  become: true
"""

RETURN = r"""
files:
  description: The files that were changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      sample: /etc/nginx/conf.d/mtls-nas.conf
    change:
      description: V(created), V(changed) or V(removed).
      type: str
      sample: created
reloaded:
  description: Whether nginx was reloaded.
  returned: success
  type: bool
  sample: true
started:
  description: Whether nginx was started, because it did not run.
  returned: success
  type: bool
  sample: false
accepted:
  description: V(true) when nginx accepts the configuration, null when it was not asked, because nothing differs or
    because it is not installed yet (in check mode).
  returned: success
  type: bool
  sample: true
own_shutdown_timeout:
  description: The C(worker_shutdown_timeout) that the host sets itself, where O(shutdown_timeout) found one; else null.
  returned: success
  type: dict
  contains:
    value:
      description: The value, as it is written.
      type: str
      sample: 10m
    file:
      description: The file that sets it.
      type: str
      sample: /etc/nginx/nginx.conf
unguarded:
  description: Those of O(snippets) that no server block includes, so that they protect nothing.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
      sample: photos
    path:
      description: The snippet.
      type: str
      sample: /etc/nginx/snippets/mtls-photos.conf
access:
  description: Who could enter before, where O(access) asks. Null where nothing of it changes, but for check mode.
  returned: success
  type: dict
  contains:
    gates:
      description: The services, and their paths with a list of their own. Null where the maps cannot be read.
      type: list
      elements: dict
      sample:
        - {service: nas, path: "", everybody: false, subjects: [CN=phone], public: [], networks: []}
    revoked:
      description: The serials that the new files of O(access.revoked) add and remove.
      type: list
      elements: dict
      sample: [{path: /etc/nginx/client-certs/revoked.map, added: ["1003"], removed: []}]
elsewhere:
  description: Services for which another server block answers at some address of the host, since it listens on just
    that address with the same port. Under the same server name, that is an error.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
      sample: photos
    why:
      description: Which block, and at which address.
      type: str
      sample: at 192.0.2.7:443, /etc/nginx/sites-enabled/shop, line 2 answers in its place
handover:
  description: What more than a reload it took, or would, to open a socket while nginx holds one that overlaps. It is
    null where a reload did.
  returned: success
  type: str
  sample: null
snippet_gates:
  description: Where those of O(snippets) with server names can be asked - each socket with TLS of each server block
    that includes one.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
      sample: photos
    place:
      description: Where the server block is.
      type: str
      sample: /etc/nginx/sites-enabled/photos, line 2
    port:
      description: The port, null if there is none to ask.
      type: int
      sample: 443
    server_name:
      description: A name of the service by which nginx chooses this server block, null if there is none.
      type: str
      sample: photos.example.com
    address:
      description: The address on which alone it listens, null for every address.
      type: str
      sample: null
    proxy_protocol:
      description: Whether the PROXY protocol is expected.
      type: bool
      sample: false
    own_pages:
      description: Whether an C(error_page) of the host's own may change the answers of the gate.
      type: bool
      sample: false
    trouble:
      description: Why it cannot be asked, null if it can.
      type: str
      sample: null
nginx:
  description: The host's nginx.
  returned: success
  type: dict
  contains:
    version:
      description: Its version, null when it was not asked.
      type: str
      sample: 1.22.1
forgotten:
  description: Serial numbers that the host's CRL lists and the new one does not, each with its issuer.
  returned: if the module failed for that reason
  type: dict
  sample: {"1003": "CN=Acme Devices,O=Acme"}
message:
  description: What was done, in words.
  returned: success
  type: str
  sample: "files: 2 created, 1 changed; nginx reloaded"
"""

import base64
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import run_module
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import gates, transaction
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import DEFAULT_CONF, PROGRAM_DIRS, Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    SECRET_MODE,
    ChangeRequest,
    GateProbe,
    Renewals,
    Snippet,
    WantedFile,
    textfile_from,
)


def request_from(params: dict[str, Any], check: bool, scratch_parent: str | None) -> ChangeRequest:
    """Return the module's options as the transaction understands them.

    :raises MtlsError: a value makes no sense.
    """
    wanted = [
        WantedFile(item["path"], item["content"].encode("utf-8", "surrogateescape"), _mode(item["path"], item["mode"]))
        for item in params["files"]
    ]
    wanted += [
        WantedFile(item["path"], item["content"].encode("utf-8", "surrogateescape"), SECRET_MODE, secret=True)
        for item in params["secrets"]
    ]
    return ChangeRequest(
        wanted=wanted,
        absent=params["absent"],
        owned=params["owned"],
        gates=[GateProbe(**probe) for probe in params["probes"]],
        snippets=[Snippet(**snippet) for snippet in params["snippets"]],
        shutdown_timeout=params["shutdown_timeout"],
        restart=params["restart"],
        textfile=textfile_from(params["textfile"]),
        renewals=_renewals(params["renewals"]),
        close_rejected=params["close_rejected"],
        reload=params["reload"],
        start=params["start"],
        check=check,
        scratch_parent=scratch_parent,
    )


def _renewals(options: dict[str, Any] | None) -> Renewals | None:
    if options is None:
        return None
    files = {}
    for item in options["files"]:
        if not re.fullmatch(r"[\w-][\w.-]*", item["name"], re.ASCII):
            raise MtlsError(f"renewals: {item['name']!r} is not a file name; use letters, digits, and . _ - inside")
        files[item["name"]] = base64.b64decode(item["content"])
    return Renewals(options["folder"], files, options["stay"])


def _mode(path: str, mode: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", mode):
        raise MtlsError(f"{path}: mode '{mode}' is not three or four octal digits; write it in quotes, as '0644'")
    return int(mode, 8)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "secrets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True, "no_log": True},
                },
            },
            "absent": {"type": "list", "elements": "path", "default": []},
            "owned": {"type": "list", "elements": "path", "default": []},
            "probes": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "default": "127.0.0.1"},
                    "port": {"type": "int", "required": True},
                    "server_name": {"type": "str", "required": True},
                    "expect": {"type": "int", "default": 400},
                    "proxy_protocol": {"type": "bool", "default": False},
                },
            },
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
            "shutdown_timeout": {"type": "int"},
            "restart": {"type": "bool"},
            "textfile": {
                "type": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "authorities": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "name": {"type": "str", "required": True},
                            "ca": {"type": "path", "required": True},
                            "crl": {"type": "path", "required": True},
                        },
                    },
                    "certificates": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "service": {"type": "str", "required": True},
                            "path": {"type": "path", "required": True},
                        },
                    },
                },
            },
            "renewals": {
                "type": "dict",
                "options": {
                    "folder": {"type": "path", "required": True},
                    "files": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "name": {"type": "str", "required": True},
                            "content": {"type": "str", "required": True, "no_log": True},
                        },
                    },
                    "stay": {"type": "list", "elements": "str", "default": []},
                },
            },
            "guard": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "default": "this host"},
                    "clock": {"type": "float"},
                    "authorities": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "directory": {"type": "str", "required": True},
                            "ca": {"type": "path", "required": True},
                            "crl": {"type": "path", "required": True},
                            "certificates": {"type": "str", "required": True},
                        },
                    },
                    "replace_authority": {"type": "bool", "default": False},
                    "forgettable": {"type": "list", "elements": "str", "default": []},
                },
            },
            "access": {
                "type": "dict",
                "options": {
                    "maps": {"type": "path", "required": True},
                    "revoked": {"type": "list", "elements": "path", "default": []},
                },
            },
            "close_rejected": {"type": "bool", "default": False},
            "reload": {"type": "bool", "default": False},
            "start": {"type": "bool", "default": True},
            "binary": {"type": "str", "default": "nginx"},
            "conf_path": {"type": "path", "default": DEFAULT_CONF},
        },
        supports_check_mode=True,
    )

    def work() -> dict[str, Any]:
        request = request_from(module.params, module.check_mode, module.tmpdir)
        binary = module.get_bin_path(module.params["binary"], opt_dirs=PROGRAM_DIRS)
        guard = module.params["guard"]
        access = module.params["access"]
        wanted = {file.path: file.content for file in request.wanted}
        held = access and gates.held(access["maps"], access["revoked"], wanted, always=module.check_mode)
        if binary is not None:
            outcome = transaction.run(Nginx(binary, module.params["conf_path"]), request, guard)
        elif module.check_mode:
            outcome = transaction.preview(request, module.params["conf_path"], guard)
        else:
            raise MtlsError(
                f"nginx is not installed: there is no program '{module.params['binary']}'."
                " Install it, or name it in binary (mtls_nginx_binary)"
            )
        warning = outcome.own_bound.warning(request.shutdown_timeout) if outcome.own_bound else None
        if warning:
            module.warn(warning)
        for warning in outcome.warnings:
            module.warn(warning)
        for snippet in outcome.snippets.unguarded:
            module.warn(snippet.warning)
        result = {**outcome.as_result(), "access": held}
        if module._diff:
            result["diff"] = transaction.diff(outcome.changes)
        return result

    run_module(module, work)


if __name__ == "__main__":
    main()
