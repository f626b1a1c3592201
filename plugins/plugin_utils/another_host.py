# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to another host of the inventory than the task's own, from within an action.

``delegate_to`` would do the same, but a template there costs each host of each run several milliseconds, and most name
no other host. What is used here of Ansible is what its task executor does, alike in ansible-core 2.17 to 2.22.
"""

from __future__ import annotations

import os
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.playbook.play_context import PlayContext
from ansible.plugins.connection import ConnectionBase
from ansible.plugins.loader import connection_loader
from ansible.template import Templar

if t.TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader
    from ansible.playbook.task import Task


def variables_of(host: str, hostvars: t.Any) -> dict[str, t.Any]:
    """Return the variables of another host as they are written, as ``ansible_delegated_vars`` has them."""
    found = hostvars[host]
    return {"ansible_facts": {}, **getattr(found, "_vars", found), "hostvars": hostvars}


def connect(
    host: str, variables: dict[str, t.Any], *, task: Task, own: PlayContext, loader: DataLoader
) -> ConnectionBase:
    """Return a connection to ``host``, not opened yet, by its own variables. Nobody becomes anybody there.

    :arg task: has ``host`` in ``delegate_to``.
    :arg own: of the task's own host; of it, the password that was asked for at the start is used.
    :raises AnsibleError: there is no such connection plugin, or one of its variables cannot be read.
    """
    templar = Templar(loader=loader, variables=variables)
    context = PlayContext(passwords={"conn_pass": own.password}, connection_lockfd=own.connection_lockfd)
    context = context.set_task_and_variable_override(task, {"ansible_delegated_vars": {host: variables}}, templar)
    name = templar.template(variables.get("ansible_connection")) or task.connection
    context.connection = name
    # The second argument is stdin, which only ansible-core 2.17 knows.
    connection = connection_loader.get(
        name, context, None, task_uuid=task._uuid, ansible_playbook_pid=str(os.getppid())
    )
    if connection is None:
        raise AnsibleError(f"there is no connection plugin {name}")
    context.set_attributes_from_plugin(connection)

    keys = task.dump_attrs()
    del keys["retries"]
    keys.update(timeout=context.timeout, become=False)
    if context.password:
        keys["password"] = context.password
    connection.set_options(task_keys=keys, var_options=connection._resolve_option_variables(variables, templar))
    shell = connection._shell
    options = {
        name: templar.template(variables[name])
        for name in C.config.get_plugin_vars("shell", shell._load_name)
        if name in variables
    }
    shell.set_options(task_keys=keys, var_options=options)
    return t.cast(ConnectionBase, connection)
