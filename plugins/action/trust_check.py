# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.trust_check``: the host says what it trusts, and that is compared here."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from collections.abc import Sequence

from ansible.errors import AnsibleError

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, missed_crls
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import Standing, TrustAnswer, check, expected
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import authorities_of, base_dir, inventory_reader

ARGUMENTS = {
    "missing": {"type": "list", "elements": "path"},
    "authority": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "binary": {"type": "str", "default": "nginx"},
    "conf_path": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "replace_authority": {"type": "bool", "default": False},
}


class ActionModule(HostAction):
    """Refuses what would set a host back: a new authority where it trusts another one, or an older copy of its own."""

    def _result(self) -> dict[str, t.Any]:
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        conf_path = os.path.normpath(arguments["conf_path"])
        services = inventory_reader().services(
            self._host, {"mtls_services": arguments["services"]}, base_dir(self._task_vars)
        )
        authorities = authorities_of(services, arguments["authority"], base_dir(self._task_vars))
        standings = []
        for trust, (path, _entered) in authorities.items():
            if arguments["missing"] is None or path in arguments["missing"]:
                with contextlib.suppress(MtlsError):  # whoever reads the authority itself says why it cannot be read
                    standings.append(Standing.of(os.path.dirname(conf_path), trust, path))
        if not standings or arguments["replace_authority"]:
            return {"changed": False, "asked": False}
        options = {
            "test": False,
            "binary": arguments["binary"],
            "conf_path": conf_path,
            "expected": expected(standings),
        }
        before = time.time()
        try:
            looked = self._ask("nginx_facts", options, answers.NGINX_FACTS)
        except (AnsibleError, MtlsError) as error:
            looked = {"failed": True, "msg": str(error)}
        if looked.get("failed"):
            # Not a failure, nor `unreachable`: with any_errors_fatal one host that is down or odd would keep
            # all others from their files. Its own trust is compared again before it is replaced.
            return {"changed": False, "asked": False, "msg": f"host {self._host} cannot be asked: {looked.get('msg')}"}
        now = time.time()
        answer = TrustAnswer.of(looked["nginx"]["trust"], before, now)
        check(self._host, answer, standings, now, replace_authority=False)
        others = [] if arguments["missing"] is not None else missed_crls.to_read(standings, answer)
        return {"changed": False, "asked": True, "behind": self._missed(others, conf_path)}

    def _missed(self, standings: Sequence[Standing], conf_path: str) -> list[str]:
        if not standings:
            return []
        found = self._ask("nginx_crls", {"conf_path": conf_path}, answers.NGINX_CRLS)
        if found.get("failed"):
            raise MtlsError(f"the CRLs of host {self._host} cannot be read: {found.get('msg')}")
        held = {each["path"]: each["content"].encode() for each in found["crls"]}
        return missed_crls.describe(standings, held, times.now())
