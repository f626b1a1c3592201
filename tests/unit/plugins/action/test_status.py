# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a status: written by each run, changed only where something differs."""

from __future__ import annotations

import json
import shutil

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.mtls.nginx.tests.unit.actions import Controller, command_line
from ansible_collections.mtls.nginx.tests.unit.support import later, tree

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:8080"}


@pytest.fixture
def controller(tmp_path, pki, monkeypatch) -> Controller:
    command_line(monkeypatch, inventory=("site/hosts.yml",))
    return Controller(tmp_path / "site", {"nas": {"mtls_services": [WEB], "mtls_ca_dir": str(pki.path)}})


def test_it_is_written_once_and_kept_current(controller, tmp_path, monkeypatch):
    first = controller.run("status")
    folder = tmp_path / "site" / "status"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert modes == {"status": 0o750, "status.html": 0o640, "status.json": 0o640, "mtls_status.prom": 0o644}
    assert (first["changed"], first["page"]) == (True, str(folder / "status.html"))
    assert first["diff"]["before"] == ""
    assert json.loads((folder / "status.json").read_text())["summary"] == first["summary"]

    later(monkeypatch, seconds=90)
    (folder / "status.html").chmod(0o644)
    before = (folder / "status.json").read_bytes()
    second = controller.run("status")
    assert second["changed"] is False
    assert second["diff"]["before"] == second["diff"]["after"]
    assert (folder / "status.json").read_bytes() != before, "a reader sees when it was made"
    assert (folder / "status.html").stat().st_mode & 0o777 == 0o644, "whom the operator lets read it may"

    (folder / "mtls_status.prom").unlink()
    assert controller.run("status")["changed"] is True


def test_check_mode_writes_nothing(controller, tmp_path):
    assert controller.run("status", check=True)["changed"] is True
    assert not (tmp_path / "site" / "status").exists()
    controller.run("status")
    before = tree(tmp_path / "site")
    assert controller.run("status", check=True, warn_days=4000)["changed"] is True
    assert tree(tmp_path / "site") == before


def test_metrics_can_go_where_the_node_exporter_looks(controller, tmp_path):
    (tmp_path / "collector").mkdir()
    done = controller.run("status", textfile_dir=str(tmp_path / "collector"))
    assert done["metrics"] == str(tmp_path / "collector" / "mtls_status.prom")
    assert (tmp_path / "collector" / "mtls_status.prom").exists()


def test_two_inventories_with_one_folder_for_their_metrics_are_told(controller, tmp_path, pki):
    """Each run would replace what the other one wrote, and an alert would see half."""
    collector = tmp_path / "collector"
    collector.mkdir()
    other = Controller(tmp_path / "other", {"web": {"mtls_services": [WEB], "mtls_ca_dir": str(pki.path)}})
    mine, yours = (tmp_path / name / "status" for name in ("site", "other"))

    def warned(who, check=False):
        return who.run("status", check=check, textfile_dir=str(collector)).get("warnings")

    assert [warned(controller), warned(controller)] == [None, None]
    for check in (True, False):
        (said,) = warned(other, check)
        assert said.startswith(
            f"{collector}/mtls_status.prom: has the metrics of the status in {mine}, which those of {yours} replace;"
        )
    assert f"the status in {yours}, which" in warned(controller)[0]
    shutil.rmtree(mine)  # moved, or another job's folder that is gone
    assert warned(other) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"warn_days": -1}, "mtls_warn_days: is -1; use 0 or more"),
        ({"textfile_dir": "/nonexistent/collector"}, "/nonexistent/collector.*: no such file or directory; check the"),
    ],
)
def test_a_mistake_is_one_message(controller, options, said):
    with pytest.raises(AnsibleActionFail, match=said):
        controller.run("status", **options)


def test_a_folder_that_ansible_would_read_as_inventory(controller, tmp_path, monkeypatch):
    command_line(monkeypatch, inventory=(str(tmp_path / "site"),))
    for path in ("status", "."):
        with pytest.raises(AnsibleActionFail, match="would lie inside the inventory folder"):
            controller.run("status", path=path)
    assert not (tmp_path / "site" / "status").exists()


def test_what_is_no_document_is_replaced(controller, tmp_path):
    (tmp_path / "site" / "status").mkdir()
    (tmp_path / "site" / "status" / "status.json").write_bytes(b"\xff")
    done = controller.run("status")
    assert done["changed"] is True
    assert done["diff"]["before"] == "\ufffd"
