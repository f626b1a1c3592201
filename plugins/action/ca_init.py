# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.ca_init``."""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.modules import ca_init
from ansible_collections.mtls.nginx.plugins.plugin_utils.authority_action import AuthorityAction


class ActionModule(AuthorityAction):
    """Creates, adopts or completes an authority."""

    MODULE = ca_init
