# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that certbot runs on a host when it has renewed a certificate: one file, with all that it needs."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.site import host_sources

MODE = 0o755
_TEXT = """\
#!{python} -IB
# Managed by mtls.nginx: changes made here are overwritten.
# certbot runs this when it has renewed a certificate: nginx is tested and reloaded as by the playbook mtls.nginx.site.

import importlib.abc
import importlib.machinery
import sys

SETTINGS = {settings!r}
SOURCES = {{
{sources}
}}


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(self, name, path=None, target=None):
        if self._file(name) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=self.is_package(name))

    def is_package(self, name):
        return self._file(name).endswith("/__init__.py")

    def get_source(self, name):
        return SOURCES[self._file(name)]

    def _file(self, name):
        stem = name.replace(".", "/")
        return next((path for path in (stem + "/__init__.py", stem + ".py") if path in SOURCES), None)


sys.meta_path.insert(0, Finder())

from {package}.host import acme_hook

sys.exit(acme_hook.main(SETTINGS))
"""


def text(
    python: str,
    nginx: Mapping[str, str],
    certificates: list[dict[str, t.Any]],
    textfile: Mapping[str, t.Any] | None,
) -> str:
    """Return the program.

    ``nginx`` has ``binary`` and ``conf_path``, ``certificates`` are what ``own_certificates.to_look_at`` returns,
    ``textfile`` is the option of that name of ``nginx_config``.
    """
    return _TEXT.format(
        python=python,
        settings={**nginx, "certificates": certificates, "textfile": textfile},
        sources="\n".join(f"    {path!r}: {source!r}," for path, source in host_sources.sources().items()),
        package=host_sources.PACKAGE.replace("/", "."),
    )
