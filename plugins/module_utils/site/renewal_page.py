# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients read where they fetch their next certificate: until when theirs is valid, and a page for each device."""

from __future__ import annotations

import html
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass

try:
    import jinja2
except ImportError:  # only on targets, where nothing is rendered
    pass

from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths

_PAGE = "renewal.html.j2"
_UNTIL = "$ssl_client_v_end"  # nginx puts it there
_PASSWORD = "Type the password. It is not on this page: whoever runs this service gives it to you another way."
_PROFILE = "Open <b>Settings &rsaquo; General &rsaquo; VPN &amp; Device Management</b> and tap the new profile."
_CHOOSE = "Close the browser completely, start it again, and choose the new certificate when it asks."


@dataclass(frozen=True)
class Device:
    """A kind of device: ``name`` is in the page's address and a variable's name, ``ending`` of the file that it takes.

    ``steps`` are HTML.
    """

    name: str
    title: str
    ending: str
    steps: tuple[str, ...]


DEVICES = (
    Device(
        "iphone",
        "iPhone, iPad",
        "mobileconfig",
        (
            _PROFILE,
            "Tap <b>Install</b>. The new profile replaces the one that you have.",
            _PASSWORD,
        ),
    ),
    Device(
        "iphone_p12",
        "iPhone, iPad",
        "p12",
        (
            _PROFILE,
            "Tap <b>Install</b>.",
            _PASSWORD,
        ),
    ),
    Device(
        "mac",
        "Mac",
        "p12",
        ("Double-click the file. <b>Keychain Access</b> opens; choose <b>login</b>.", _PASSWORD, _CHOOSE),
    ),
    Device(
        "windows",
        "Windows",
        "p12",
        (
            "Double-click the file, leave <b>Current User</b> and click <b>Next</b> twice.",
            _PASSWORD,
            "Leave everything as it is until <b>Finish</b>.",
            _CHOOSE,
        ),
    ),
    Device(
        "android",
        "Android",
        "p12",
        (
            "Open <b>Settings</b>, search for <b>certificate</b>, and choose <b>Install a certificate</b>.",
            "Choose <b>VPN &amp; app user certificate</b>.",
            "Choose the file <b>renewal.p12</b> among the downloads.",
            _PASSWORD,
            "Give it another name than the one that you have.",
        ),
    ),
    Device(
        "linux",
        "Linux, Firefox",
        "p12",
        (
            "In the browser&rsquo;s settings search for <b>certificates</b>.",
            "Import the file under <b>Your certificates</b>.",
            _PASSWORD,
            _CHOOSE,
        ),
    ),
    Device(
        "program",
        "Programs",
        "pem",
        (
            "Put the file in the place of the certificate that the program has. Its key stays as it is.",
            "Or fetch it with <code>curl --fail --cert OLD.crt --key YOUR.key --output NEW.crt</code> and its address.",
            "Until there is a next certificate, that fails with 404.",
            "Many programs read the new certificate when they are started again.",
        ),
    ),
)


def pages(environment: jinja2.Environment, contact: Contact | None, trusts: Sequence[TrustPaths]) -> dict[str, t.Any]:
    """Return what ``renewal_pages.conf.j2`` says; ``contact`` is whom people may ask."""
    template = environment.get_template(_PAGE)
    said = contact and {"name": html.escape(contact.name), "url": html.escape(contact.url or "")}

    def page(title: str, text: str, devices: Sequence[Device] = (), device: Device | None = None) -> str:
        return template.render(title=title, text=text, devices=devices, device=device, contact=said)

    title = f"Your certificate is valid until {_UNTIL}"
    ready = "Your next certificate is ready. Choose the device that you want to use it on."
    nothing = (
        "There is nothing to do. Your next certificate waits here some time before this one expires, until you use it."
    )
    offered = {
        "~^mc-": [device for device in DEVICES if device.name != "iphone_p12"],
        "~^pc-": [device for device in DEVICES if device.name != "iphone"],
        "~^c-": [device for device in DEVICES if device.ending == "pem"],
    }
    return {
        "trusts": trusts,
        "nothing": page(title, nothing),
        "offered": {key: page(title, ready, devices) for key, devices in offered.items()},
        "devices": [(device.name, page(device.title, "", device=device)) for device in DEVICES],
    }
