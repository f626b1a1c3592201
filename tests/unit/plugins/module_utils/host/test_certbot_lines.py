# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import certbot_lines
from ansible_collections.mtls.nginx.plugins.module_utils.host.comparison import FileChange
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import MARKER
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import WantedFile

PATH = "/etc/nginx/conf.d/mtls-nas.conf"
# As certbot's plugin 2.1.0 leaves it.
INSTALLED = b"""\
    ssl_certificate /etc/letsencrypt/live/nas.test/fullchain.pem; # managed by Certbot
    ssl_certificate_key /etc/letsencrypt/live/nas.test/privkey.pem; # managed by Certbot
"""
CHALLENGE = b"rewrite ^(/.well-known/acme-challenge/.*) $1 break; # managed by Certbot\n"
OURS = f"{MARKER}\n".encode()


def change(before: bytes | None, wanted: bytes | None) -> FileChange:
    return FileChange(PATH, "changed", before, 0o644, None if wanted is None else WantedFile(PATH, wanted))


def test_the_lines_to_write_instead():
    with pytest.raises(MtlsError) as error:
        certbot_lines.refuse([change(OURS + INSTALLED, OURS + b"ssl_certificate /etc/nginx/server-certs/nas.crt;")])
    assert str(error.value).startswith(
        f"{PATH}: certbot's nginx plugin has written into this file of ours ('managed by Certbot'), and this run would"
        " undo that; nothing was changed. Write for service nas certificate: {path:"
        " /etc/letsencrypt/live/nas.test/fullchain.pem, key: /etc/letsencrypt/live/nas.test/privkey.pem}, and run"
        " again."
    )


def test_in_the_middle_of_a_challenge_there_is_no_certificate_to_name():
    with pytest.raises(MtlsError, match=r"nothing was changed\. Have certbot renew it without that plugin"):
        certbot_lines.refuse([change(OURS + CHALLENGE, OURS)])


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        (OURS + INSTALLED, OURS + b"ssl_certificate /etc/letsencrypt/live/nas.test/fullchain.pem;"),
        (INSTALLED, OURS),  # not ours: refused for that
        (OURS, OURS),
        (None, OURS),
        (OURS + INSTALLED, None),
    ],
)
def test_what_may_be_overwritten(before, wanted):
    certbot_lines.refuse([change(before, wanted)])
