# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which implementation serves which authority; today there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority, Published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.directory import PublishedDirectory, open_directory


def open_authority(path: str, passphrase: str | None, *, read_only: bool) -> AbstractContextManager[Authority]:
    """Open the authority that ``path`` names; ``read_only`` is check mode's, and takes no lock.

    :raises MtlsError: it cannot be used; the text says why.
    """
    return open_directory(path, passphrase, read_only=read_only)


def read_authority(path: str) -> Published:
    """Return what the authority that ``path`` names has published."""
    return PublishedDirectory(path)
