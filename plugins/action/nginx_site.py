# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of `mtls.nginx.nginx_site`: renders what a host should have and has the host put it in place."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_files import (
    HostFiles,
    NginxHost,
    crl_files,
    host_files,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import authority_path, beside_inventory
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import (
    publish,
    publish_crl,
    rehearse,
)
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import (
    TEMPLATE_DIR,
    base_dir,
    inventory_reader,
    read_plan,
)

ARGUMENTS = {
    "authority": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "binary": {"type": "str", "default": "nginx"},
    "conf_path": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "log_dir": {"type": "path", "default": "/var/log/nginx"},
    "crl_only": {"type": "bool", "default": False},
    "crl_min_days": {"type": "int", "default": 3},
    "error_pages": {"type": "bool", "default": True},
    "error_page_template": {"type": "str"},
    "shutdown_timeout": {"type": "int", "default": 60},
    "textfile_dir": {"type": "path"},
}


class ActionModule(ActionBase):
    """Two halves: files are made here, where the authority is, and changed there, by the module `nginx_config`."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            wanted, refused = self._render(arguments, task_vars)
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        result = self._execute_module(
            module_name="mtls.nginx.nginx_config",
            module_args={
                **wanted.as_options(),
                "binary": arguments["binary"],
                "conf_path": arguments["conf_path"],
            },
            task_vars=task_vars,
        )
        result["refused"] = refused
        return result

    def _render(
        self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> tuple[HostFiles, Mapping[str, Sequence[str]]]:
        """What the host should have, and who is refused there although an allow list names them, by service."""
        host = task_vars["inventory_hostname"]
        services = inventory_reader().services(host, {"mtls_services": arguments["services"]})
        path = authority_path(arguments["authority"], base_dir(task_vars))
        if arguments["crl_only"]:
            crl = publish_crl(path, 0 if self._task.check_mode else arguments["crl_min_days"])
            conf_dir = os.path.dirname(os.path.normpath(arguments["conf_path"]))
            return crl_files(conf_dir, services, crl, arguments["textfile_dir"]), {}
        if self._task.check_mode:
            plan = read_plan(task_vars).get(path)
            publication = rehearse(path, host, services, plan.clients if plan else [])
        else:
            publication = publish(path, host, services, arguments["crl_min_days"])
        nginx = _nginx_host(host, arguments, task_vars)
        return host_files(nginx, services, publication, TEMPLATE_DIR), publication.refused


def _nginx_host(host: str, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> NginxHost:
    facts = task_vars.get("ansible_facts", {}).get("mtls_nginx")
    if facts is None:
        raise MtlsError(f"host {host}: mtls.nginx.nginx_facts has not looked at this host's nginx yet; run it first")
    template = arguments["error_page_template"]
    return NginxHost(
        version=tuple(int(part) for part in (facts["version"] or "0").split(".")),
        ipv6=facts["ipv6"],
        conf_path=os.path.normpath(arguments["conf_path"]),
        log_dir=os.path.normpath(arguments["log_dir"]),
        directives=facts["directives"] or {},
        shutdown_timeout=arguments["shutdown_timeout"],
        textfile_dir=arguments["textfile_dir"],
        error_pages=arguments["error_pages"],
        error_page_template=template and beside_inventory("mtls_error_page_template", template, base_dir(task_vars)),
    )
