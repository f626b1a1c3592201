# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom people may ask: named on their page, on the pages for who is refused, in Apple profiles and in the status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

# The argument specification of the option that names one.
OPTION = {"type": "dict", "options": {"name": {"type": "str", "required": True}, "url": {"type": "str"}}}
# What a page may link to: no scheme here makes a browser run anything. A $ would be a variable to nginx.
_SCHEMES = ("https:", "http:", "mailto:", "tel:", "sms:", "xmpp:")
_URL = re.compile(rf"(?:{'|'.join(_SCHEMES)})[\x21\x23\x25-\x3b\x3d\x3f-\x7e]{{1,500}}")
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Contact:
    """A person or a team. `url` is where to reach them: a page, `mailto:` or `tel:`."""

    name: str
    url: str | None = None

    @classmethod
    def of(cls, option: Mapping[str, Any] | None) -> Contact | None:
        """Return the contact of the option `mtls_contact`, None without one.

        :raises MtlsError: the name is empty or not one line, or the URL is none that a page may link to.
        """
        if not option:
            return None
        name, url = str(option["name"]), option.get("url")
        if not name.strip() or not name.isprintable() or "$" in name or len(name) > _LONGEST_NAME:
            raise MtlsError(
                f"mtls_contact: name {name!r} is not one line of 1 to {_LONGEST_NAME} characters without $; write "
                "another"
            )
        if url is None:
            return cls(name)
        if not _URL.fullmatch(str(url)):
            hint = f"mailto:{url}" if re.fullmatch(r"[^\s:/@]+@[^\s:/@]+", str(url)) else "https://… or mailto:…"
            raise MtlsError(f"mtls_contact: url {url!r} is not an address that a page may link to; write {hint}")
        return cls(name, str(url))

    @property
    def address(self) -> str:
        """The URL as people say it: a mail address or a number without its scheme; empty without one."""
        return re.sub(r"^(?:mailto|tel|sms|xmpp):", "", self.url or "")

    def __str__(self) -> str:
        """Return name and address in one line."""
        return f"{self.name} ({self.address})" if self.url else self.name
