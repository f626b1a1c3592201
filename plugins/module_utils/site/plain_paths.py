# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that mean the same to nginx and to whatever stands behind it, as keys of nginx maps.

Each key finds a place that is not plain; what has none, and begins as it must, is plain. The default of each map is
that nothing is: nginx takes it where PCRE gives up. No key has a quantifier around another one, so the work is linear
in the path's length, and PCRE needs no stack for it. Programs that know no possessive quantifiers read them too.
"""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.site import plain_characters

# For $request_uri: its path as it was sent, in this variable.
SENT_VARIABLE = "mtls_sent_path"
SENT = rf"~^(?<{SENT_VARIABLE}>[^?]*)"
# What may stand for itself: printable ASCII without space . / \ ; % ? #
_RAW = r"""!"$&-\-0-:<->@-\[\]-~"""
# What may follow a percent sign: escapes of the same, of a space and of bytes that are no ASCII.
_ESCAPE = r"(?:2[01246-9A-D]|3[0-9AC-E]|[46][0-9A-F]|5[0-9ABD-F]|7[0-9A-E]|[89A-F][0-9A-F])"
# For that path. No segment is empty; none begins with a space, nor with a dot that is not the first letter of a name.
ODD_REQUEST = rf"~*[^./%{_RAW}]|%(?!{_ESCAPE})|//|/%20|/\.(?![\w-])"
# A byte of ASCII that is none to print, one that begins none of these characters in UTF-8 or one with too many bytes
# behind it, or one of the latter behind ASCII.
_CONTROL = r"[\x00-\x1F\x7F]"
_NOT_IN = r"(?!{0}(?![\x80-\xBF]))[\xC0-\xFF]|(?<![\x80-\xFF])[\x80-\xBF]"
# For the verdict on that and $uri, its bytes. With doubled backslashes it would be longer than nginx reads: 4095.
ODD_CHARACTERS = rf"~{_CONTROL}|/{plain_characters.SPACES}|{_NOT_IN.format(plain_characters.PLAIN)}"
# For the verdict on both and $uri: of the plain characters, those that somebody takes for an ASCII one are odd.
ODD_LETTERS = rf"~{_CONTROL}|{_NOT_IN.format(plain_characters.LETTERS)}"
