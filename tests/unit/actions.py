# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions as Ansible runs them, in this process: its own inventory, variables, templates and connection."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import context
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible.plugins.connection.local import Connection
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

COLLECTION = "ansible_collections.mtls.nginx.plugins"


class Controller:
    """A controller with an inventory of its own; what an action fails with is raised."""

    def __init__(self, folder: Path, hosts: dict[str, dict[str, Any]], **variables: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.source = folder / "hosts.yml"
        everybody = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        self.source.write_text(json.dumps({"all": {"hosts": hosts, "vars": everybody}}))
        self.loader = DataLoader()
        self.loader.set_basedir(str(folder))
        self.inventory = InventoryManager(loader=self.loader, sources=[str(self.source)])
        self.variables = VariableManager(loader=self.loader, inventory=self.inventory)
        self.hostvars = HostVars(inventory=self.inventory, variable_manager=self.variables, loader=self.loader)

    def of(self, host: str) -> dict[str, Any]:
        """The variables of a host, as a task sees them."""
        return {**self.variables.get_vars(host=self.inventory.get_host(host)), "hostvars": self.hostvars}

    def action(self, name: str, on: str | None = None, /, *, check: bool = False, task: dict | None = None, **options):
        """Return the action of a task, and the variables to run it with."""
        variables = self.of(on or self.inventory.get_hosts()[0].name)
        loaded = Task.load({"action": f"mtls.nginx.{name}", "check_mode": check, **(task or {})}, loader=self.loader)
        loaded.args = options
        play = PlayContext()
        templar = Templar(loader=self.loader, variables=variables)
        plugin = importlib.import_module(f"{COLLECTION}.action.{name}").ActionModule
        return plugin(loaded, Connection(play, None), play, self.loader, templar, None), variables

    def run(self, name: str, on: str | None = None, /, **options: Any) -> dict[str, Any]:
        """Return the result of a task; `check` and `task` are those of `action`."""
        action, variables = self.action(name, on, **options)
        return action.run(task_vars=variables)


def command_line(monkeypatch, **options: Any) -> None:
    """Let the run have been started with these options."""
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(options))


GLANCE = json.dumps({"changed": False, "nginx": None})


class Heard(list[tuple[str, dict[str, Any]]]):
    """The modules that a host was sent, with their options."""


def host_says(action: ActionBase, **answers: Any) -> Heard:
    """Let the host answer modules, by their short names; of a list each answer is given once, the last again and again.

    It goes the way of any answer, through what reads it before Ansible does.
    """
    heard = Heard()
    profile = ("legacy",) if "profile" in inspect.signature(ActionBase._parse_returned_data).parameters else ()

    def execute(module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        name = module_name.rpartition(".")[2]
        if name == "nginx_glance" and name not in answers:  # the host wants a closer look
            return dict(action._parse_returned_data({"rc": 0, "stdout": GLANCE, "stderr": ""}, *profile))
        heard.append((name, copy.deepcopy(module_args)))
        waiting = answers[name]
        answer = (waiting.pop(0) if len(waiting) > 1 else waiting[0]) if isinstance(waiting, list) else waiting
        if isinstance(answer, Exception):
            raise answer
        parsed = action._parse_returned_data({"rc": 0, "stdout": json.dumps(answer), "stderr": ""}, *profile)
        return dict(parsed) if isinstance(parsed, Mapping) else parsed.as_result_dict(for_round_trip=True)

    action._execute_module = execute
    return heard


def facts_of_a_host(**changes: Any) -> dict[str, Any]:
    """What `nginx_facts` answers on a host with an nginx that runs and has nothing of ours; with changes in `nginx`."""
    directives = ("client_header_timeout", "map_hash_bucket_size", "resolver", "set_real_ip_from")
    directives += ("server_names_hash_bucket_size", "ssl_session_cache", "variables_hash_bucket_size")
    directives += ("variables_hash_max_size", "worker_shutdown_timeout")
    nginx = {
        "installed": True,
        "binary": "/usr/sbin/nginx",
        "version": "1.26.0",
        "conf_path": "/etc/nginx/nginx.conf",
        "conf_dir": "/etc/nginx",
        "running": True,
        "upgrading": False,
        "includes_conf_d": True,
        "config_error": None,
        "directives": dict.fromkeys(directives),
        "unguarded": [],
        "snippet_gates": [],
        "snippet_error": None,
        "ipv6": True,
        "systemd": True,
        "name_servers": [],
        "kept": {},
        "system_ca": None,
        "names": {},
        "comparison": None,
        "certificates": {},
        "acme": None,
        "python": "/usr/bin/python3",
        "trust": {"clock": time.time(), "held": {}},
        "init_script": None,
    }
    return {"changed": False, "nginx": {**nginx, **changes}}
