# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.status``: everything happens here, no host is asked."""

from __future__ import annotations

import os
import typing as t
from datetime import datetime

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import describe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import beside_inventory
from ansible_collections.mtls.nginx.plugins.module_utils.site.status import document, metrics, page
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.judge import Settings, ansible_command, status_of
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import Status
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import (
    COLLECTION_DIR,
    base_dir,
    read_plan,
    refuse_as_inventory,
)

ARGUMENTS = {
    "path": {"type": "path", "default": "status"},
    "textfile_dir": {"type": "path"},
    "warn_days": {"type": "int"},
    "answers": {"type": "dict"},
}
TEMPLATE_DIR = os.path.join(COLLECTION_DIR, "playbooks", "templates")
# Who may enter where is private; when things expire is for the node exporter, which is another user.
_DIRECTORY_MODE, _FILE_MODE, _METRICS_MODE = 0o750, 0o640, 0o644


class ActionModule(ActionBase):
    """Checks the whole inventory, and writes page, document and metrics."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return where the status was written, and what is due."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            result.update(self._report(arguments, task_vars or {}))
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise AnsibleActionFail(describe(error)) from error
        return result

    def _report(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if arguments["warn_days"] is not None and arguments["warn_days"] < 0:
            raise MtlsError(f"mtls_warn_days: is {arguments['warn_days']}; use 0 or more")
        folder = beside_inventory("mtls_status_dir", arguments["path"], base_dir(task_vars))
        refuse_as_inventory("the status", folder)
        settings = Settings(arguments["warn_days"], ansible_command(context.CLIARGS.get("inventory") or ()))
        plans = read_plan(task_vars).values()
        upkeep = document.upkeep_from(_read(os.path.join(folder, "upkeep.json")) or b"")
        report = _Report(status_of(plans, times.now(), settings, arguments["answers"], upkeep), folder)
        metrics_path = os.path.join(arguments["textfile_dir"] or folder, "mtls_status.prom")
        changed, warnings = report.changed(metrics_path), report.warnings(metrics_path)
        if not self._task.check_mode:
            report.write(metrics_path)
        return {
            "changed": changed,
            "page": report.page,
            "document": report.document,
            "metrics": metrics_path,
            "due": report.status.due,
            "summary": report.status.summary,
            "diff": report.diff(),
            **({"warnings": warnings} if warnings else {}),
        }


class _Report:
    """The files of one status, and those of the last one, which they replace."""

    def __init__(self, status: Status, folder: str) -> None:
        self.status = status
        self.page = os.path.join(folder, "status.html")
        self.document = os.path.join(folder, "status.json")
        self._folder = folder
        self._old_document = _read(self.document)
        self._old_moment = document.generated_at(self._old_document or b"")

    def changed(self, metrics_path: str) -> bool:
        """Tell whether the last run would have written something else, had it seen what this one sees."""
        if self._old_moment is None:
            return True
        return any(_read(path) != content for path, content, _mode in self._contents(metrics_path, self._old_moment))

    def warnings(self, metrics_path: str) -> list[str]:
        """Return what is wrong with where the metrics go: another inventory's are there, which are replaced."""
        other = metrics.written_by(_read(metrics_path) or b"")
        if other is None or other == self._folder:
            return []
        if not os.path.exists(os.path.join(other, os.path.basename(self.document))):
            return []
        said = (
            f"{metrics_path}: has the metrics of the status in {other}, which those of {self._folder} replace; give"
            " each inventory an mtls_status_textfile_dir of its own, or remove the other status if it is an old one"
        )
        return [said]

    def write(self, metrics_path: str) -> None:
        """Write all files, also when only the time differs, so that a reader sees that they are current."""
        files.make_directory(self._folder, _DIRECTORY_MODE)
        for path, content, mode in self._contents(metrics_path, self.status.now):
            there = files.status(path)
            files.write_file(path, content, mode if there is None else there.st_mode & 0o777)

    def diff(self) -> dict[str, str]:
        """Return the document before and after, both as of the same time; the page says the same."""
        after = document.render(self.status, self._old_moment or self.status.now)
        return {
            "before_header": self.document,
            "after_header": self.document,
            "before": (self._old_document or b"").decode("utf-8", "replace"),
            "after": after.decode("utf-8", "replace"),
        }

    def _contents(self, metrics_path: str, moment: datetime) -> list[tuple[str, bytes, int]]:
        return [
            (self.page, page.render(self.status, moment, TEMPLATE_DIR), _FILE_MODE),
            (self.document, document.render(self.status, moment), _FILE_MODE),
            (metrics_path, metrics.render(self.status, moment, self._folder), _METRICS_MODE),
        ]


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
