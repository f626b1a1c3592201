# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions that install packages on a host: Ansible's own modules do the work there."""

from __future__ import annotations

import typing as t

from ansible.module_utils.facts.system.pkg_mgr import PKG_MGRS
from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction

_MANAGERS = frozenset(manager["name"] for manager in PKG_MGRS)
# What ansible.builtin.apt says on a minimal Debian or Ubuntu.
_NO_BINDINGS = "must be installed to use check mode"

display = Display()


class PackageAction(HostAction):
    """Finds the host's package manager, and has it install a package."""

    def _install(self, package: str, program: str) -> dict[str, t.Any]:
        """Return what the package manager answers.

        :raises MtlsError: there is none that Ansible knows; ``program`` is what could not be installed, in words.
        """
        # Not ansible.builtin.package, which hands on whatever facts the host adds.
        looked = self._ask(
            "ansible.builtin.setup", {"gather_subset": ["!all", "!min", "pkg_mgr"]}, answers.PACKAGE_MANAGER
        )
        if looked.get("failed"):
            return looked
        manager = looked["ansible_facts"]["ansible_pkg_mgr"]
        if manager not in _MANAGERS:
            raise MtlsError(
                f"host {self._host}: has no package manager that Ansible knows ({manager}); install {program} yourself"
            )
        options = {"name": package, "state": "present", "update_cache": True}
        result = self._ask(f"ansible.legacy.{manager}", options, answers.CHANGED)
        if self._task.check_mode and result.get("failed") and _NO_BINDINGS in result.get("msg", ""):
            display.warning(
                f"host {self._host}: apt could not be asked about the package {package}, because in check mode "
                "Ansible needs python3-apt on the host; a run installs both"
            )
            return {"changed": True}
        return result
