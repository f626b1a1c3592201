# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients read where they fetch their next certificate, as nginx can read it."""

from __future__ import annotations

import re

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.site import host_files, renewal_page
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import TEMPLATE_DIR

LONGEST = Contact("<&\"'" * 50, f"mailto:{'a' * 200}@x.test")
LIMIT = 4096  # bytes of a word, NGX_CONF_BUFFER


def rendered(contact=None):
    environment = host_files._environment(TEMPLATE_DIR, None)
    words = renewal_page.pages(environment, contact, [TrustPaths.of("/etc/nginx", "")])
    return environment.get_template("renewal_pages.conf.j2").render(words)


@pytest.mark.parametrize("contact", [None, LONGEST], ids=["nobody", "a long name"])
def test_nginx_can_read_each_word(contact):
    text = rendered(contact)
    assert max(len(word.encode()) for word in re.findall(r'"(?:[^"\\]|\\.)*"', text)) < LIMIT
    assert nginx_conf.parse(text)


def test_no_variable_but_the_date():
    assert set(re.findall(r"\$\w+", rendered())) == {
        "$ssl_client_v_end",
        "$mtls_next",
        "$mtls_offer",
        *(f"$mtls_renewal_{device.name}" for device in renewal_page.DEVICES),
    }


def test_whom_to_ask():
    assert "can help" not in rendered()
    text = rendered(Contact("<Ana>", "mailto:ana@x.test"))
    assert "&lt;Ana&gt;</a> can help" in text
    assert "<Ana>" not in text
