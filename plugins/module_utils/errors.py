# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception a user is meant to read."""

from __future__ import annotations


class MtlsError(Exception):
    """A mistake or obstacle the user can remove.

    The text names the host, client or file, says what is wrong with it and what to do about it.
    ``entry.run_module`` shows it as the task's failure message, without a traceback.
    """
