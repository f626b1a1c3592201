# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to another host: by its own variables, not by those of the task's host."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError

from ansible_collections.mtls.nginx.plugins.plugin_utils import another_host
from ansible_collections.mtls.nginx.tests.unit.actions import Controller

HOSTS = {
    "nas": {"ansible_connection": "local", "ansible_port": 2200, "ansible_user": "nobody"},
    "bastion": {
        "ansible_connection": "ssh",
        "ansible_host": "{{ site }}.9",
        "ansible_port": "{{ way_in }}",
        "ansible_user": "admin",
        "ansible_become": True,
        "ansible_remote_tmp": "/var/tmp/{{ inventory_hostname }}",
        "site": "198.51.100",
        "way_in": 2222,
    },
    "plain": {"ansible_connection": "ssh"},
    "odd": {"ansible_connection": "no.such.plugin"},
}


@pytest.fixture
def nas(tmp_path):
    return Controller(tmp_path / "site", HOSTS).action("nginx_crls", "nas", paths=[])


def connect(nas, host):
    action, variables = nas
    action._task.delegate_to = host
    found = another_host.variables_of(host, variables["hostvars"])
    return another_host.connect(host, found, task=action._task, own=action._play_context, loader=action._loader)


def test_it_goes_by_the_variables_of_that_host(nas):
    connection = connect(nas, "bastion")
    assert connection.transport == "ssh"
    options = {name: connection.get_option(name) for name in ("host", "port", "remote_user")}
    assert options == {"host": "198.51.100.9", "port": 2222, "remote_user": "admin"}
    assert connection._shell.get_option("remote_tmp") == "/var/tmp/bastion"
    assert connection.become is None


def test_nothing_of_the_own_host_goes_there(nas):
    connection = connect(nas, "plain")
    assert connection.get_option("host") == "plain"
    assert connection.get_option("port") != 2200
    assert connection.get_option("remote_user") != "nobody"


def test_the_password_that_was_asked_for_counts_there_too(nas):
    action, _variables = nas
    assert connect(nas, "bastion").get_option("password") is None
    action._play_context.password = "typed"
    assert connect(nas, "bastion").get_option("password") == "typed"


def test_a_plugin_that_there_is_not(nas):
    with pytest.raises(AnsibleError, match=r"there is no connection plugin no\.such\.plugin"):
        connect(nas, "odd")
