# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs by what they call themselves: one row each, as real ones wrote it into a log."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.caller_programs import program

WEBKIT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (f"{WEBKIT} Chrome/156.0.0.0 Safari/537.36", "Chrome or another browser of its kind"),
        (f"{WEBKIT} HeadlessChrome/156.0.0.0 Safari/537.36", "Chrome or another browser of its kind"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "Firefox"),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "Safari"),
        ("Go-http-client/1.1", "a Go program"),
        ("Java-http-client/17.0.15", "a Java program"),
        ("Apache-HttpClient/4.5.14 (Java/17.0.15)", "a Java program"),
        ("Wget/1.21.3", "wget"),
        ("Wget2/1.99.1", "wget2"),
        ("curl/7.88.1", "curl"),
        ("git/2.39.5", "git"),
        ("git-lfs/3.3.0 (GitHub; linux amd64; go 1.19.8)", "git-lfs"),
        ("pip/26.3 {}", "pip"),
        ("restic/0.18.0", "a program that calls itself 'restic/0.18.0'"),
        ("-", "a program without a name"),
        ("", "a program without a name"),
    ],
)
def test_who_calls_itself_so(agent, name):
    assert program(agent).name == name


def test_who_ends_with_exit_status_0_when_refused():
    refused = {
        agent: program(agent).succeeds for agent in ("curl/8.5.0", "wget2/1.99.1", "HTTPie/3.2.4", "Wget/1.21.3")
    }
    assert refused == {
        "curl/8.5.0": "--fail",
        "wget2/1.99.1": "nothing: use wget",
        "HTTPie/3.2.4": "--check-status",
        "Wget/1.21.3": None,
    }
