# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's nginx, as far as it takes its program, its processes and its configuration, and nothing that few hosts have.

Two modules answer with it: ``nginx_glance``, which Ansible sends without all the rest, and ``nginx_facts``.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, nginx_process
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import Configuration
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx

# Where certbot keeps how it renews certificates.
ACME_RENEWALS = "/etc/letsencrypt/renewal"
_DIRECTIVES = {
    "client_header_timeout": ("http",),
    "map_hash_bucket_size": ("http",),
    "resolver": ("http",),
    "variables_hash_bucket_size": ("http",),
    "variables_hash_max_size": ("http",),
    "server_names_hash_bucket_size": ("http",),
    "set_real_ip_from": ("http",),
    "ssl_session_cache": ("http",),
    "worker_shutdown_timeout": (),
}
_PYTHON = "/usr/bin/python3"


def begin(binary: str | None, conf_path: str) -> dict[str, Any]:
    """Return the facts of ``nginx_facts`` as they are where there is nothing; ``binary`` is None without nginx."""
    return {
        "installed": binary is not None,
        "binary": binary,
        "version": None,
        "conf_path": conf_path,
        "conf_dir": os.path.dirname(conf_path),
        "running": False,
        "upgrading": False,
        "includes_conf_d": None,
        "config_error": None,
        "comparison": None,
        "directives": dict.fromkeys(_DIRECTIVES),
        "name_servers": [],
        "names": {},
        "kept": {},
        "system_ca": None,
        "unguarded": [],
        "snippet_gates": [],
        "snippet_error": None,
        "elsewhere": [],
        "socket_error": None,
        "ssi": None,
        "own_ports": None,
        "away": [],
        "asked": [],
        "ipv6": _has_ipv6(),
        "systemd": nginx_process.systemd_runs(),
        "init_script": nginx_process.init_script(),
        "python": _python(),
        "crl_fetch": None,
        "certificates": {},
        "acme": None,
    }


def of_nginx(nginx: Nginx) -> dict[str, Any]:
    """Return what is known of the program and of what runs."""
    running = nginx.master() is not None
    return {
        "version": nginx.version(),
        "ssi": nginx.compiled.ssi,
        "running": running,
        "upgrading": running and bool(nginx.strangers()),
    }


def of_configuration(nginx: Nginx, configuration: Configuration) -> dict[str, Any]:
    """Return what the configuration says.

    :raises OSError: it cannot be read.
    """
    ours = os.path.join(nginx.conf_dir, "conf.d", "mtls.conf")
    included = configuration.included.get(ours)
    if included is None:  # perhaps because it does not exist yet
        included = nginx_conf.load(nginx.conf_path, {ours: nginx_conf.MARKER.encode()}).included.get(ours, [])
    return {
        "includes_conf_d": ("http",) in included,
        "directives": {name: configuration.own_value(name, context) for name, context in _DIRECTIVES.items()},
        "own_ports": nginx_conf.own_ports(configuration),
    }


def _python() -> str:
    """Return the Python that runs this, by a name that it keeps when the distribution has a newer one."""
    if not sys.executable or os.path.realpath(sys.executable) == os.path.realpath(_PYTHON):
        return _PYTHON
    return sys.executable


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
