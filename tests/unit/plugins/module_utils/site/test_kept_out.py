# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site import kept_out

NOBODY = probe.Attempt("nobody", 400)


def asked(port: int) -> probe.ProbeOutcome:
    return probe.ask(probe.Target("127.0.0.1", port, "nas.test"), NOBODY, timeout=0.2)


def test_a_ban_drops_or_refuses():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "fail2ban" in kept_out.advice([asked(port)])  # nobody accepts
    assert "fail2ban" in kept_out.advice([probe.ProbeOutcome(NOBODY, 400), asked(port)])


@pytest.mark.parametrize("outcome", [probe.ProbeOutcome(NOBODY, 204), probe.ProbeOutcome(NOBODY, None, "TLS: unknown")])
def test_who_gets_an_answer_is_not_banned(outcome):
    assert kept_out.advice([outcome]) == ""
