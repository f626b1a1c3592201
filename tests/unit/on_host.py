# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module on a host whose folders are a test's, and which has systemd or has not: see ``support.run_on_host``."""

from __future__ import annotations

import importlib
import sys

from ansible_collections.mtls.nginx.plugins.module_utils.host import acme_client, crl_place, nginx_process


def main() -> None:
    name, folder, systemd = sys.argv[1:]
    del sys.argv[1:]  # Ansible reads them, too
    place = crl_place.Place("mtls-crl", *(f"{folder}/{each}" for each in ("data", "units", "cron")))
    crl_place.Place.of = lambda _conf_path: place
    nginx_process.systemd_runs = acme_client.systemd_runs = lambda: systemd == "True"
    importlib.import_module(f"ansible_collections.mtls.nginx.plugins.modules.{name}").main()
