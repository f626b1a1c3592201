# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection says of its modes."""

from __future__ import annotations


class ModuleDocFragment:
    """Check mode, diff mode, idempotence."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying anything.
    support: full
  diff_mode:
    description: Will return details on what has changed, or in C(check_mode) would change, when in diff mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
"""

    CONTROLLER = r"""
options: {}
requirements:
  - cryptography >= 42
  - Python >= 3.11
attributes:
  platform:
    description: Where the module runs, usually delegated to the controller.
    platforms: posix
    support: full
"""
