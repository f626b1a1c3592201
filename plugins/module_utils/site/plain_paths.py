# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that mean the same to nginx and to whatever stands behind it, as keys of nginx maps.

Each key says what such a path is, and the map's default is that it is none: nginx takes the default also where PCRE
gives up. No quantifier of them can give back what it has matched, so the work is linear in the path's length.
"""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.site import plain_characters

# What may stand for itself: printable ASCII without space . / \ ; % ? #
_RAW = r"""!"$&-\-0-:<->@-\[\]-~"""
# Escapes of the same, and of bytes that are no ASCII.
_ESCAPE = r"%(?:2[1246-9A-D]|3[0-9AC-E]|[46][0-9A-F]|5[0-9ABD-F]|7[0-9A-E]|[89A-F][0-9A-F])"
# No segment is empty; none begins with a space, nor with a dot that is not the first letter of a name.
_SEGMENT = rf"/(?:\.[\w-]|[{_RAW}]|{_ESCAPE})(?:[.{_RAW}]++|{_ESCAPE}|%20)*+"

# For $request_uri: the path as it was sent.
PLAIN_REQUEST = rf"~*^(?:(?:{_SEGMENT})++/?+|/)(?:\?|\z)"
# For the verdict on that and $uri, its bytes. With doubled backslashes it would be longer than nginx reads: 4095.
PLAIN_CHARACTERS = rf"~^1:(?:[\x20-\x2E\x30-\x7E]++|/(?!{plain_characters.SPACES})|{plain_characters.PLAIN})*+\z"
# For the verdict on both and $uri: of the plain characters, those that nobody takes for an ASCII one.
PLAIN_LETTERS = rf"~^1:(?:[\x20-\x7E]++|{plain_characters.LETTERS})*+\z"
