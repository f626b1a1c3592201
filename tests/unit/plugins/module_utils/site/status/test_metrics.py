# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics, as Prometheus reads them."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime

from ansible_collections.mtls.nginx.plugins.module_utils.site.status import metrics as status_metrics
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import Status, Upkeep

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202e\n\\{{ 7*7 }}"
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?\d+)')


def parsed(content):
    """Samples of Prometheus' text format: {name: {labels: value}}."""
    metrics: dict[str, dict[tuple[tuple[str, str], ...], int]] = {}
    first, *lines = content.decode().removesuffix("\n").split("\n")
    assert first == "# Written by mtls.nginx with the status in /srv/status"
    for line in lines:
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ gauge)", line), line
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        labels = tuple(
            (name, re.sub(r'\\[\\"n]', lambda found: UNESCAPED[found[0]], value))
            for name, value in re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', sample[2] or "")
        )
        assert labels not in metrics.setdefault(sample[1], {}), line
        metrics[sample[1]][labels] = int(sample[3])
    return metrics


def test_the_metrics(mixed):
    metrics = parsed(status_metrics.render(mixed, NOW, "/srv/status"))
    (authority,) = mixed.authorities
    assert metrics["mtls_status_timestamp_seconds"] == {(): int(NOW.timestamp())}
    assert metrics["mtls_status_findings"] == {
        (("level", "now"),): 4,
        (("level", "soon"),): 4,
        (("level", "note"),): 1,
    }
    ends = metrics["mtls_authority_client_certificate_not_after_timestamp_seconds"]
    assert ends[("authority", authority.path), ("client", "chloé-phone")] == int(
        next(c for c in authority.clients if c.name == "chloé-phone").certificate.not_after.timestamp()
    )
    states = metrics["mtls_authority_clients"]
    assert states[("authority", authority.path), ("state", "soon")] == 2
    assert sum(states.values()) == 18
    assert metrics["mtls_status_host_ok"] == {(("host", "nas"),): 1, (("host", "home"),): 0, (("host", "web"),): 0}


def test_hostile_names_in_the_metrics(attacked):
    status = dataclasses.replace(attacked(HOSTILE), authorities=attacked(HOSTILE).authorities[:1])
    metrics = parsed(status_metrics.render(status, NOW, "/srv/status"))
    assert (("authority", HOSTILE), ("client", HOSTILE)) in metrics[
        "mtls_authority_client_certificate_not_after_timestamp_seconds"
    ]


def test_a_name_that_utf_8_cannot_hold_is_written_nevertheless(attacked):
    status = dataclasses.replace(attacked("\udcff"), authorities=attacked("\udcff").authorities[:1])
    metrics = parsed(status_metrics.render(status, NOW, "/srv/status"))
    assert (("authority", "?"),) in metrics["mtls_authority_revoked_certificates"]


def test_when_upkeep_last_succeeded():
    moments = {"refresh_crl": datetime(2026, 11, 23, 3, 15, tzinfo=UTC)}
    upkeep = Upkeep(3, datetime(2026, 11, 1, 12, tzinfo=UTC), moments)
    metrics = parsed(status_metrics.render(Status(NOW, None, (), upkeep=upkeep), NOW, "/srv/status"))
    name = "mtls_upkeep_last_success_timestamp_seconds"
    assert metrics[name] == {(("playbook", "refresh_crl"),): 1795403700}
    assert name not in parsed(status_metrics.render(Status(NOW, None, ()), NOW, "/srv/status"))
