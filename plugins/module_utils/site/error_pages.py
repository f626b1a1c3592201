# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said to whoever is refused: what is missing, in plain words, and nothing that helps an attacker.

A page for browsers; a few lines of text for programs, which print whatever comes, or its first words only.
"""

from __future__ import annotations

import html
import typing as t
from dataclasses import dataclass

try:
    import jinja2
except ImportError:  # only on targets, where nothing is rendered
    pass

from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

_OWN = "error_page.html.j2"
# nginx reads no word of 4096 bytes or more (NGX_CONF_BUFFER): UTF-8 has at most 4 a character, a quoted backslash 2.
_PIECE = 1000  # characters
_LARGEST = 256 * 1024  # bytes of one page
_PLAIN = "plain"  # http where https is spoken
_ADDRESS = "$mtls_https_address"
_LINK = "<!-- mtls: a link to the same address with https -->"  # stands for what only nginx knows


@dataclass(frozen=True)
class _Reason:
    """Why somebody is refused; ``key`` matches "$ssl_client_verify:$status" in nginx's map, where the first counts.

    ``text`` is for people with a browser, ``plainly`` for those who read what a program prints.
    """

    name: str
    key: str
    title: str
    text: tuple[str, ...]
    plainly: tuple[str, ...]


_REASONS = (
    _Reason(
        "list",
        "~:403$",
        "This is not open to you",
        (
            "Your certificate is good, but it does not open this page.",
            (
                "If you have another one, close the browser completely, open this page again, and choose that."
                " Otherwise ask whoever runs this page."
            ),
        ),
        ("The certificate is good, but it is not on the list of this address.", "Ask whoever runs it."),
    ),
    _Reason(
        "none",
        "~^NONE:",
        "A certificate is needed here",
        (
            "This page opens only on devices that have a certificate for it, and your browser sent none.",
            (
                "Install the certificate that you were given. Then close the browser completely, open this page again,"
                " and choose the certificate when you are asked for one."
            ),
            "If you are not asked, try a private window. An expired certificate is not offered: ask for a new one.",
        ),
        (
            "This address opens only to those who have a certificate for it, and none was sent.",
            "Give the program its certificate and key (for curl, --cert and --key), and see that it has not expired.",
        ),
    ),
    _Reason(
        _PLAIN,
        "~^:",
        "Please use https",
        ("This page wants an encrypted connection: its address begins with https://.",),
        ("This address wants an encrypted connection: it begins with https://.",),
    ),
    _Reason(
        "rejected",
        "default",
        "Your certificate was not accepted",
        (
            "It may have expired or been revoked, or it is for another place.",
            (
                "If you have a newer one, close the browser completely, open this page again, and choose that."
                " Otherwise ask whoever gave it to you for a new one."
            ),
        ),
        (
            "It may have expired or been revoked, or it is for another place.",
            "If there is a newer one, see that the program reads it: many keep the old one until they are restarted.",
        ),
    ),
)


def pages(
    environment: jinja2.Environment, template_path: str | None, contact: Contact | None = None
) -> list[dict[str, t.Any]]:
    """Return a page for each reason, in pieces that nginx can read; ``template_path`` is the user's own template.

    A piece of None stands for a link to the address that was asked for, with https. ``said`` is the same for programs,
    one text with nginx's variable of that address. ``contact`` is whom people may ask.

    :raises MtlsError: the template cannot be read or rendered, or makes a page of more than 256 KiB.
    """
    template = environment.get_template(_OWN) if template_path is None else _load(environment, template_path)
    return [
        {
            "reason": reason.name,
            "key": reason.key,
            "pieces": _pieces(_render(template, reason, contact, template_path), template_path),
            "said": _said(reason, contact),
        }
        for reason in _REASONS
    ]


def _load(environment: jinja2.Environment, path: str) -> jinja2.Template:
    try:
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
        if "PRIVATE KEY-----" in text:  # everybody would read it who is refused
            raise MtlsError(f"mtls_error_page_template {path}: holds a private key; name an HTML file")
        return environment.from_string(text)
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise MtlsError(f"mtls_error_page_template {path}: {said}; name a readable HTML file") from error
    except jinja2.TemplateSyntaxError as error:
        raise _broken(path, f"line {error.lineno}: {error.message}") from error


def _render(template: jinja2.Template, reason: _Reason, contact: Contact | None, path: str | None) -> str:
    link = _LINK if reason.name == _PLAIN else ""
    said = contact and {"name": html.escape(contact.name), "url": html.escape(contact.url or "")}
    try:
        return template.render(reason=reason.name, title=reason.title, text=reason.text, link=link, contact=said)
    except Exception as error:  # whatever a template of the user's can do
        raise _broken(path, str(error)) from error


def _said(reason: _Reason, contact: Contact | None) -> str:
    lines = [reason.title, "", *reason.plainly]
    if reason.name == _PLAIN:
        lines.append(_ADDRESS)
    if contact:
        lines.append(f"{contact} can help.")
    return "\n".join(lines) + "\n"


def _pieces(page: str, path: str | None) -> list[str | None]:
    if "$" in page:
        raise _broken(path, "makes a page with a $, which nginx takes for a variable (in HTML, write &#36;)")
    if not page.strip() or "\0" in page or len(page.encode()) > _LARGEST:
        raise _broken(path, f"makes a page that is empty, holds a NUL, or is larger than {_LARGEST // 1024} KiB")
    pieces: list[str | None] = []
    for number, part in enumerate(page.split(_LINK)):
        if number:
            pieces.append(None)
        pieces += [part[start : start + _PIECE] for start in range(0, len(part), _PIECE)]
    return pieces


def _broken(path: str | None, what: str) -> MtlsError:
    return MtlsError(
        f"mtls_error_page_template {path}: {what}; it knows title, text (a list), reason, contact and link"
    )
