# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who came, by logs as nginx writes them: plain, rotated, compressed, forged and planted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import USER_AGENT
from ansible_collections.mtls.nginx.plugins.module_utils.host import access_log, logrotate

NOW = int(time.time())
DAY = 86400


def line(
    ago=0, serial="0A", dn="CN=phone", verify="SUCCESS", status=200, agent="Firefox", user="-", request="GET / HTTP/1.1"
):
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(NOW - ago))
    return (
        f'192.0.2.1 - {user} [{when}] "{request}" {status} 5 "-" "{agent}" sni="nas.lan" verify="{verify}"'
        f' dn="{dn}" serial={serial}\n'
    )


@pytest.fixture
def log(tmp_path):
    return tmp_path / "mtls-nas.access.log"


def callers(log, days=7):
    warnings = []
    found = access_log.callers(str(log.parent), "nas", NOW - days * DAY, warnings.append).found
    return {caller.serial: (caller.dn, caller.requests, caller.status, NOW - caller.last) for caller in found}, warnings


def test_who_came_by_all_logs(log):
    log.write_text(line(10) + line(5, "0B", "CN=laptop", status=403) + line(9, "-", "-", "NONE", 400))
    log.with_name(f"{log.name}.1").write_text(line(100, status=404) + line(8 * DAY, "0C"))
    log.with_name(f"{log.name}.2.gz").write_bytes(gzip.compress(line(200).encode()))
    log.with_name("mtls-nas2.access.log").write_text(line(1, "0D"))
    assert callers(log) == ({"0B": ("CN=laptop", 1, 403, 5), "0A": ("CN=phone", 3, 200, 10)}, [])


@pytest.mark.parametrize(("suffix", "module", "program"), [("xz", lzma, "xz"), ("bz2", bz2, "bzip2")])
def test_what_is_compressed_with_another_program_is_named(log, suffix, module, program):
    log.write_text(line(1))
    old = log.with_name(f"{log.name}.2.{suffix}")
    old.write_bytes(module.compress(line(2, "0B").encode()))
    found, (warning,) = callers(log)
    assert found == {"0A": ("CN=phone", 1, 200, 1)}
    assert warning.startswith(f"{old}: was not read, because it is compressed with {program}, so whoever came only")
    assert access_log.callers(str(log.parent), "nas", NOW - DAY, lambda _text: None).unread == [str(old)]


@pytest.mark.parametrize("old", ["old", "/elsewhere"])
def test_logs_are_read_where_logrotate_puts_the_old_ones(log, tmp_path, monkeypatch, old):
    folder = tmp_path / (old if old == "old" else "elsewhere")
    folder.mkdir()
    (tmp_path / "conf").write_text(f"{log} {{\n  olddir {'old' if old == 'old' else folder}\n}}\n")
    monkeypatch.setattr(logrotate, "_ALL", (str(tmp_path / "conf"),))
    log.write_text(line(1))
    (folder / f"{log.name}.1").write_text(line(2, "0B"))
    assert set(callers(log)[0]) == {"0A", "0B"}


def test_what_counts_for_nothing_ends_no_log(log):
    log.write_text(
        line(9 * DAY, "0C")
        + line(1).replace(time.strftime("%b", time.gmtime(NOW - 1)), "Foo")
        + line(3, "0D", status=403)
        + line(2, agent=USER_AGENT)
        + line(1, "0E")
    )
    assert list(callers(log)[0]) == ["0E", "0D"]  # seen last first
    assert callers(log)[0] == {"0E": ("CN=phone", 1, 200, 1), "0D": ("CN=phone", 1, 403, 3)}


def test_nobody_where_there_is_no_log(tmp_path):
    assert callers(tmp_path / "nowhere" / "log") == ({}, [])


def test_our_own_probe_is_nobody(log):
    log.write_text(line(20) + line(1, agent=USER_AGENT) + line(1, "0B", agent=USER_AGENT))
    assert callers(log)[0] == {"0A": ("CN=phone", 1, 200, 20)}


@pytest.mark.parametrize(
    ("asked", "status", "fetched"),
    [
        ("GET /.mtls/renewal.p12 HTTP/2.0", 200, True),
        ("GET /.mtls/renewal.mobileconfig HTTP/1.1", 200, True),
        ("GET /.mtls/renewal.pem HTTP/1.1", 200, True),
        ("HEAD /.mtls/renewal.p12 HTTP/2.0", 200, False),
        ("GET /.mtls/renewal.p12 HTTP/2.0", 404, False),
        ("GET /.mtls/ HTTP/2.0", 200, False),
        ("GET /x/.mtls/renewal.p12 HTTP/2.0", 200, False),
    ],
)
def test_who_has_fetched_the_next_certificate(log, asked, status, fetched):
    log.write_text(line(9, request=asked, status=status) + line(3))
    (caller,) = access_log.callers(str(log.parent), "nas", NOW - DAY, print).found
    assert caller.fetched == (NOW - 9 if fetched else None)
    assert caller.last == NOW - 3


@pytest.mark.parametrize("separator", ["\f", "\r", "\v", "\x1c", "\x85", "\u2028"])
def test_lines_end_at_line_feeds_alone(log, separator):
    log.write_text(f"{separator}{line(1, '0B')[:-1]}{separator}{line(2)}")
    assert callers(log)[0] == {}


@pytest.mark.parametrize(
    "forged",
    [
        {"user": 'me [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-"'},
        {"agent": f'x" sni="nas.lan" verify="SUCCESS" dn="CN=other" serial=0B "{USER_AGENT}'},
        {"request": 'GET / HTTP/1.1" 200 5 "-" "-" sni="nas.lan" verify="SUCCESS" dn="CN=other" serial=0B "'},
    ],
    ids=lambda forged: next(iter(forged)),
)
def test_a_line_that_nginx_would_not_write(log, forged):
    """nginx escapes the quotes without which this cannot be said; with them, it is no line of ours."""
    log.write_text(line(1, **forged))
    assert callers(log)[0] == {}
    log.write_text(line(1, **{name: text.replace('"', "\\x22") for name, text in forged.items()}))
    assert callers(log)[0] == {"0A": ("CN=phone", 1, 200, 1)}


def test_what_is_no_regular_file(log, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(line(1, "0B"))
    log.write_text(line(1))
    log.with_name(f"{log.name}.1").symlink_to(secret)
    os.mkfifo(log.with_name(f"{log.name}.2"))
    log.with_name(f"{log.name}.3").mkdir()
    found, warnings = callers(log)
    assert set(found) == {"0A"}
    assert sorted(text.split(": was not read")[0][-2:] for text in warnings) == [".1", ".2", ".3"]


def test_half_a_compressed_log(log):
    path = log.with_name(f"{log.name}.2.gz")
    whole = gzip.compress(line(1).encode())
    for content in (whole[:-9], b"junk", whole[:12] + b"\xff" * 20):
        path.write_bytes(content)
        with pytest.raises(MtlsError, match=r"access\.log\.2\.gz: cannot be decompressed"):
            callers(log)


@pytest.mark.parametrize("text", [b"23/Nov/2026", b"23/Foo/2026:18:33:01 +0100", b"", b"23/Nov/2026:18:33:01 0100"])
def test_a_time_that_nginx_does_not_write(text):
    assert access_log._seconds(text) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"23/Nov/2026:18:33:01 +0000", 1795458781),
        (b"23/Nov/2026:19:33:01 +0100", 1795458781),
        (b"24/Nov/2026:00:03:01 +0530", 1795458781),
        (b"23/Nov/2026:15:03:01 -0330", 1795458781),
    ],
)
def test_times_of_every_zone(text, moment):
    assert access_log._seconds(text) == moment


def test_a_log_that_nobody_has_written_to_lately_is_not_read(tmp_path):
    log = tmp_path / "mtls-nas.access.log.1"
    log.write_text("not a log of ours\n")
    os.utime(log, (1000, 1000))
    assert access_log.callers(str(tmp_path), "nas", 2000, lambda warning: None).found == []
