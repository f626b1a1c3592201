# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo` and `make demo-clean` in namespaces: this machine's own /etc/nginx and ports stay as they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from .conftest import REPOSITORY

ADDRESS = "198.51.100.7"
CHANGED = ("/etc/nginx", "/var/log/nginx", "/var/lib/nginx", "/srv")
# A machine with that address, on which nginx is installed and does not run. What is written is gone at the end.
MACHINE = f"""
set -eu
ip link set lo up
ip addr add {ADDRESS}/32 dev lo
for folder in {" ".join(CHANGED)}; do
    upper=$(mktemp -d -p "$1")
    mount -t tmpfs none "$upper"
    mkdir "$upper/new" "$upper/work"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=$upper/new,workdir=$upper/work" "$folder"
done
mount -t tmpfs none /run
echo "server {{ listen 8080; }}" >/etc/nginx/conf.d/own.conf
cd "$1"
eval "$2"
"""
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
HOLD = f"""hold() {{ {sys.executable} -m http.server "$1" >/dev/null 2>&1 & holder=$!; sleep 1; }}
release() {{ kill $holder; wait $holder 2>/dev/null || true; }}
step() {{ echo "STEP $*"; examples/demo/run.sh "$@" || echo "FAILED WITH $?"; }}
"""


@pytest.fixture
def demo(tmp_path):
    """Run shell lines on such a machine, with a copy of the demo; return what each step said."""
    shutil.copytree(REPOSITORY / "examples" / "demo", tmp_path / "examples" / "demo")

    def run(*lines):
        done = subprocess.run(
            [*NAMESPACES, "bash", "-c", MACHINE, "machine", tmp_path, HOLD + "\n".join(lines)],
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return re.split(r"^STEP .*\n", done.stdout, flags=re.MULTILINE)[1:]

    return run


def test_in_any_order_of_addresses(demo):
    steps = demo("step up", f"step up {ADDRESS}", "step up", "step down", "ls /etc/nginx/conf.d /srv")
    for said in steps:
        assert "FAILED" not in said, said
        assert "NOT AS EXPECTED" not in said, said
    assert [said.count("nginx was reloaded twice") for said in steps] == [0, 1, 1, 0]
    assert "The demo is removed." in steps[-1]
    assert steps[-1].endswith("/etc/nginx/conf.d:\nown.conf\n\n/srv:\n"), steps[-1]


@pytest.mark.parametrize("port", ["8443", "8080"])
def test_a_first_run_that_fails_can_be_taken_away(demo, port):
    """The other port is one of the machine's own: nginx does not even start where that is taken."""
    failed, removed = demo(f"hold {port}", "step up", "step down", "release", "ls /etc/nginx/conf.d /srv")
    assert f"port {port} is held by" in failed
    assert "FAILED WITH" in failed
    assert "The demo is removed." in removed
    assert "FAILED WITH" not in removed
    assert removed.endswith("/etc/nginx/conf.d:\nown.conf\n\n/srv:\n"), removed
