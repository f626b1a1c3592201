# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each ansible-playbook does first, whatever the playbook, done once: see tests/warm.py."""

import importlib
import pathlib

import ansible.cli
import ansible.module_utils.facts
from ansible.plugins import loader

loader.init_plugin_loader()
ansible.cli.init_plugin_loader = lambda *_path: None  # which would say that this has been done
for plugins in ("inventory", "connection", "callback", "filter", "test"):
    list(getattr(loader, f"{plugins}_loader").all(class_only=True))

OURS = pathlib.Path(__file__).parents[3] / "plugins"
for path in (*OURS.glob("action/*.py"), *OURS.glob("lookup/*.py")):
    importlib.import_module(f"ansible_collections.mtls.nginx.plugins.{path.parent.name}.{path.stem}")
