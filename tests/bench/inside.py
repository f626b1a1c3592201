# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module as ever, and prints last how many seconds its own work took: without Python's start, and without what
Ansible does to its arguments before and to its result after."""

from __future__ import annotations

import atexit
import runpy
import sys
import time

from measure import MODULES

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry

run_module = entry.run_module


def timed(module, work) -> None:
    def measured() -> dict:
        start = time.perf_counter()
        result = work()
        atexit.register(print, f"\n{time.perf_counter() - start}")
        return result

    run_module(module, measured)


entry.run_module = timed
name = sys.argv.pop()  # Ansible would take it for a file of arguments
runpy.run_module(f"{MODULES}.{name}", run_name="__main__")
