# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.host import facts, nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.modules import nginx_facts


def test_all_that_is_documented_is_there_from_the_beginning():
    documented = yaml.safe_load(nginx_facts.RETURN)["nginx"]["contains"].keys()
    assert facts.begin(None, "/etc/nginx/nginx.conf").keys() == documented - {"trust"}
    assert facts.begin("/usr/sbin/nginx", "/etc/nginx/nginx.conf")["conf_dir"] == "/etc/nginx"


@pytest.mark.parametrize(("include", "included"), [("conf.d/*.conf", True), ("sites/*", False)])
def test_what_the_configuration_says(tmp_path, include, included):
    """Of a file of ours that is not there yet too."""
    (tmp_path / "nginx.conf").write_text(
        "worker_shutdown_timeout 5m;\n"
        f"http {{ map_hash_bucket_size 128; include {include}; server {{ listen 8080; }} }}\n"
    )
    nginx = Nginx("nginx", str(tmp_path / "nginx.conf"))
    found = facts.of_configuration(nginx, nginx_conf.load(nginx.conf_path))
    assert found["includes_conf_d"] is included
    assert found["own_ports"] == [8080]
    said = {name: value for name, value in found["directives"].items() if value}
    assert said == {"worker_shutdown_timeout": "5m", "map_hash_bucket_size": "128"}


def test_which_python_it_is(monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    assert facts.begin(None, "/nginx.conf")["python"] == "/usr/bin/python3"
    monkeypatch.setattr(sys, "executable", "/opt/python/bin/python")
    assert facts.begin(None, "/nginx.conf")["python"] == "/opt/python/bin/python"
