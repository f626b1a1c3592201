# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that work with an existing authority."""

from __future__ import annotations


class ModuleDocFragment:
    """Which authority, and what opens its key."""

    DOCUMENTATION = r"""
options:
  ca_path:
    description:
      - The directory of the authority, as M(mtls.nginx.ca_init) makes or adopts it.
    type: path
    required: true
  ca_passphrase:
    description:
      - The passphrase of the authority's private key.
      - Required when the key is encrypted.
    type: str
"""
