# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.server_cert``."""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.modules import server_cert
from ansible_collections.mtls.nginx.plugins.plugin_utils.authority_action import AuthorityAction


class ActionModule(AuthorityAction):
    """Issues the services' server certificates."""

    MODULE = server_cert
