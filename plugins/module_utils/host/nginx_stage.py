# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the host's nginx about files that are not in place.

The configuration folder is mirrored in a scratch folder: symbolic links, except for the files that are to change and
for the configuration files that name paths in the folder. Those are copies in which each such path points into the
mirror. Files outside the configuration folder are read where they are.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx, Verdict

# Directives whose first argument is a file or folder that even `nginx -t` creates.
_CREATING = re.compile(r"access_log|error_log|[a-z_]+_temp_path|[a-z_]+_cache_path")


def try_out(
    nginx: Nginx, changes: Mapping[str, bytes | None], secrets: Collection[str] = (), scratch_parent: str | None = None
) -> Verdict:
    """Return what ``nginx -t`` says of the configuration with these changes (content by path, None for removed).

    Nothing outside the scratch folder is written, not even the logs, caches and pid file that ``nginx -t`` creates, and
    the secrets among the changes not even there. The problems name the real paths.

    ::raises OSError: the main file cannot be read.
    :raises MtlsError: the main file cannot be parsed.
    """
    configuration = nginx_conf.load(nginx.conf_path, changes)
    if configuration.main.error:
        raise MtlsError(f"{nginx.conf_path}: {configuration.main.error}; fix it ('nginx -t' may say more)")
    with tempfile.TemporaryDirectory(prefix="mtls-nginx-", dir=scratch_parent) as scratch:
        stage = _Mirror(nginx, configuration, changes, scratch)
        descriptors = stage.build(secrets)
        try:
            has_pid = any(configuration.find("pid", ()))
            verdict = nginx.test(stage.place(nginx.conf_path), None if has_pid else f"pid {scratch}/nginx.pid;")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return Verdict(verdict.accepted, tuple(map(stage.real_paths, verdict.problems)))


class _Mirror:
    def __init__(
        self, nginx: Nginx, configuration: nginx_conf.Configuration, changes: Mapping[str, bytes | None], scratch: str
    ) -> None:
        self._conf_dir = nginx.conf_dir
        self._configuration = configuration
        self._changes = changes
        self._scratch = scratch
        self._mirror = os.path.join(scratch, "conf")
        self._statements: dict[str, list[nginx_conf.Statement]] = {}
        for statement in configuration.statements:
            self._statements.setdefault(statement.file.path, []).append(statement)
        self._elsewhere: dict[
            str, str
        ] = {}  # real path outside the configuration folder -> its place in the scratch folder
        for path in changes:
            if not self._inside(path):
                self._set_aside(path)

    def place(self, path: str) -> str:
        """Return where a file of the configuration folder, or a changed one elsewhere, is in the scratch folder."""
        return self._elsewhere.get(path) or self._mirror + path[len(self._conf_dir) :]

    def real_paths(self, text: str) -> str:
        """Return nginx's words with the real paths instead of those in the scratch folder."""
        for path, place in self._elsewhere.items():
            text = text.replace(place, path)
        return text.replace(self._mirror, self._conf_dir)

    def build(self, secrets: Collection[str]) -> list[int]:
        """Fill the scratch folder; return descriptors to be closed when nginx has been asked."""
        contents = {path: content for path, content in self._changes.items() if content is not None}
        for path, file in self._configuration.files.items():
            text = nginx_conf.edit(file.text, self._edits(file))
            if text != file.text and self._inside(path):
                contents[path] = text.encode("utf-8", "surrogateescape")
        self._mirror_folders(contents)
        descriptors = []
        for path, content in contents.items():
            place = self.place(path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if path in secrets:
                descriptor = os.memfd_create("secret")
                descriptors.append(descriptor)
                os.write(descriptor, content)
                os.symlink(f"/proc/{os.getpid()}/fd/{descriptor}", place)
            else:
                with open(place, "wb") as handle:
                    handle.write(content)
        return descriptors

    def _mirror_folders(self, contents: Collection[str]) -> None:
        """Make real folders where something differs, and links to everything else."""
        folders = {self._conf_dir}
        for path in {*contents, *self._changes}:
            folder = os.path.dirname(path)
            while self._inside(folder):
                folders.add(folder)
                folder = os.path.dirname(folder)
        for folder in sorted(folders):
            os.makedirs(self.place(folder), exist_ok=True)
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                path = os.path.join(folder, name)
                if path not in folders and path not in contents and path not in self._changes:
                    os.symlink(path, self.place(path))

    def _edits(self, file: nginx_conf.ConfFile) -> list[tuple[int, int, str]]:
        edits = {}
        for statement in self._statements.get(file.path, ()):
            for number, token in enumerate(statement.directive.args):
                replacement = self._replacement(statement, number, token.value)
                if replacement is not None:
                    edits[token.start] = (token.start, token.end, nginx_conf.nginx_quote(replacement))
        return list(edits.values())

    def _replacement(self, statement: nginx_conf.Statement, number: int, value: str) -> str | None:
        name = statement.directive.name
        if name == "pid" and not statement.context:
            return os.path.join(self._scratch, "nginx.pid")
        if number == 0 and _CREATING.fullmatch(name) and self._can_be_created(value):
            return self._set_aside(value)
        if value in self._elsewhere:
            return self._elsewhere[value]
        return self.place(value) if self._inside(value) else None

    @staticmethod
    def _can_be_created(value: str) -> bool:
        # If the folder around it is missing, nginx itself should say so.
        return value.startswith("/") and "$" not in value and os.path.isdir(os.path.dirname(value))

    def _set_aside(self, path: str) -> str:
        if path not in self._elsewhere:
            folder = os.path.join(self._scratch, "elsewhere", str(len(self._elsewhere)))
            os.makedirs(folder)
            self._elsewhere[path] = os.path.join(folder, os.path.basename(path))
        return self._elsewhere[path]

    def _inside(self, path: str) -> bool:
        return path.startswith(self._conf_dir + "/")
