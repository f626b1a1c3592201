# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx comes from the host's package manager, and starts on boot."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.tests.unit.actions import Controller, host_says

APT = {"ansible_facts": {"ansible_pkg_mgr": "apt", "mtls_ca_dir": "/of/the/attacker"}}


@pytest.fixture
def install(tmp_path):
    controller = Controller(tmp_path / "site", {"nas": {}})

    def run(check: bool = False, setup=None, apt=None, systemd_service=None, **options):
        action, variables = controller.action("nginx_install", check=check, **options)
        default = {"changed": False}
        heard = host_says(
            action, setup=setup or APT, apt=apt or default, systemd_service=systemd_service or default, zz9=default
        )
        return action.run(task_vars=variables), heard

    return run


@pytest.mark.parametrize("package", [False, True])
@pytest.mark.parametrize("boot", [False, True])
def test_it_is_installed_and_starts_on_boot(install, package, boot):
    done, heard = install(apt={"changed": package}, systemd_service={"changed": boot}, package="nginx-light")
    assert [name for name, _options in heard] == ["setup", "apt", "systemd_service"]
    assert heard[1][1] == {"name": "nginx-light", "state": "present", "update_cache": True}
    assert heard[2][1] == {"name": "nginx", "enabled": True}
    assert done["changed"] is (package or boot)
    assert "ansible_facts" not in done


def test_where_there_is_no_systemd_or_nothing_is_installed_yet(install):
    for options in ({"systemd": False}, {"check": True}):
        done, heard = install(apt={"changed": True}, **options)
        assert [name for name, _options in heard] == ["setup", "apt"]
        assert done["changed"] is True


BINDINGS = "python3-apt must be installed to use check mode. If run normally this module can auto-install it."


def test_a_minimal_debian_in_check_mode(install, capsys):
    done, _heard = install(check=True, apt={"failed": True, "msg": BINDINGS})
    assert (done["changed"], done.get("failed", False)) == (True, False)
    assert "host nas: apt could not be asked about the package nginx" in " ".join(capsys.readouterr().err.split())
    # In a run, and of anything else, it is a failure.
    assert install(apt={"failed": True, "msg": BINDINGS})[0]["failed"]
    assert install(check=True, apt={"failed": True, "msg": "No package matching 'nginx' is available"})[0]["failed"]


@pytest.mark.parametrize("module", ["setup", "apt", "systemd_service"])
def test_what_fails_is_the_result(install, module):
    done, heard = install(**{module: {"failed": True, "msg": "no space"}})
    assert (done["failed"], done["msg"]) == (True, "no space")
    assert heard[-1][0] == module


@pytest.mark.parametrize("manager", ["unknown", "zz9", "command"])
def test_only_a_package_manager_is_run(install, manager):
    done, heard = install(setup={"ansible_facts": {"ansible_pkg_mgr": manager}})
    assert f"has no package manager that Ansible knows ({manager}); install nginx yourself" in done["msg"]
    assert [name for name, _options in heard] == ["setup"]
