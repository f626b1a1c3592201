# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the bound for connections that outlive a reload is written, and when it is not."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, shutdown
from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import OwnBound

PLAIN = "user root;\nevents {}\nhttp { include conf.d/*.conf; }\n"
OURS = "worker_shutdown_timeout 60s;  # Managed by mtls.nginx\n"


@pytest.fixture
def plan(tmp_path):
    def planned(text, seconds=60):
        conf = tmp_path / "nginx.conf"
        if not conf.is_symlink():
            conf.write_text(text)
        return shutdown.plan(str(conf), seconds)

    return planned


def test_a_line_where_the_main_context_includes_no_folder(plan):
    made = plan(PLAIN)
    assert made.main.decode() == OURS + PLAIN
    assert not made.files
    assert plan(OURS + PLAIN).main is None


def test_the_line_is_changed_where_it_stands_and_removed_without_a_trace(plan):
    moved = PLAIN.replace("events", OURS + "events")
    assert plan(moved).main is None
    assert plan(moved, 5).main.decode() == moved.replace("60s", "5s")
    assert plan(moved, 0).main.decode() == PLAIN
    assert plan(PLAIN, 0).main is None


@pytest.mark.parametrize("pattern", ["modules-enabled/*.conf", "{dir}/modules-enabled/*.conf", "modules-enabled/*"])
def test_a_file_where_the_main_context_includes_a_folder(plan, tmp_path, pattern):
    text = f"include {pattern.format(dir=tmp_path)};\n{PLAIN}"
    path = str(tmp_path / "modules-enabled" / "mtls-shutdown.conf")
    made = plan(text)
    assert made.main is None
    assert list(made.files) == [path]
    assert nginx_conf.is_managed(made.files[path])
    assert b"\nworker_shutdown_timeout 60s;\n" in made.files[path]
    assert plan(text, 0).files == {path: None}
    # A line of an earlier nginx.conf makes way for the file: nginx takes the directive once only.
    assert plan(OURS + text).main.decode() == text


@pytest.mark.parametrize("pattern", ["/usr/share/nginx/modules/*.conf", "modules-enabled/50-*.conf", "*/x.conf", "one"])
def test_folders_in_which_no_file_of_ours_belongs(plan, pattern):
    made = plan(f"include {pattern};\n{PLAIN}")
    assert made.main is not None
    assert not made.files


@pytest.mark.parametrize("place", ["nginx.conf", "modules-enabled/own.conf"])
def test_a_bound_of_the_hosts_own_is_left_alone_and_ours_makes_way(plan, tmp_path, place):
    (tmp_path / "modules-enabled").mkdir()
    text = f"include modules-enabled/*.conf;\n{PLAIN}"
    if place == "nginx.conf":
        text += "worker_shutdown_timeout 5m;\n"
    else:
        (tmp_path / place).write_text("worker_shutdown_timeout 5m;\n")
    made = plan(OURS + text)
    assert made.own == OwnBound("5m", str(tmp_path / place))
    assert made.main.decode() == text
    assert made.files == {str(tmp_path / "modules-enabled" / "mtls-shutdown.conf"): None}


@pytest.mark.parametrize(
    ("value", "longer"),
    [("60s", False), ("60", False), ("1m", False), ("61s", True), ("1m1s", True), ("0", True), ("1h", True)],
)
def test_a_bound_of_the_hosts_own_is_compared(value, longer):
    assert (OwnBound(value, "nginx.conf").warning(60) is not None) is longer


def test_a_link_is_not_edited(plan, tmp_path):
    elsewhere = tmp_path / "elsewhere.conf"
    elsewhere.write_text(PLAIN)
    (tmp_path / "nginx.conf").symlink_to(elsewhere)
    with pytest.raises(MtlsError, match=r"symbolic link.*worker_shutdown_timeout 60s;"):
        plan(None)
    assert plan(None, 0).main is None


def test_a_configuration_that_cannot_be_read_is_left_to_nginx(plan):
    assert plan("http {") == shutdown.ShutdownPlan()
