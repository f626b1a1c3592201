# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is public of an authority in a directory: neither its key nor its lock is needed."""

from __future__ import annotations

from functools import cached_property

from ansible_collections.mtls.nginx.plugins.module_utils.ca import layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.directory import crl_as_it_is, read_chain, read_crl
from ansible_collections.mtls.nginx.plugins.module_utils.ca.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.register import Register


class PublishedDirectory:
    """Implements authority.Published."""

    def __init__(self, path: str) -> None:
        self._path = path

    @cached_property
    def record(self) -> Index:
        """The index as it was when it was first asked for."""
        return Index.load(layout.Layout(self._path).index)

    @cached_property
    def clients(self) -> Register:
        """The clients by name."""
        return Register.load(self._path)

    def chain(self) -> bytes:
        """Return ca.crt."""
        return read_chain(self._path)

    def crl(self) -> bytes:
        """Return crl.pem."""
        return read_crl(self._path)

    def crl_as_it_is(self) -> bytes | None:
        """Return crl.pem unchecked."""
        return crl_as_it_is(layout.Layout(self._path).crl)
