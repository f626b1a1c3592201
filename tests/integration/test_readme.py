# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README tells a newcomer to type: installing the collection, and the server that is its own controller."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def console(words):
    """The commands of the one console block that has these words."""
    (block,) = (block for block in blocks("console") if words in block)
    return re.findall(r"^\$ (.*)$", block, re.MULTILINE)


def shell(command, folder, **environment):
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_collection_is_installed_from_a_checkout_without_development_tools(tmp_path, monkeypatch):
    for variable in ("ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    for command in console("ansible-galaxy"):
        shell(command.replace("<this repository>", str(REPOSITORY)), tmp_path, HOME=str(tmp_path))
    installed = tmp_path / ".ansible" / "collections" / "ansible_collections" / "mtls" / "nginx"
    listed = shell("ansible-doc --list mtls.nginx", tmp_path, HOME=str(tmp_path))
    assert [line.split()[0] for line in listed.splitlines()] == [
        f"mtls.nginx.{path.stem}" for path in sorted((installed / "plugins" / "modules").glob("*.py"))
    ]
    assert "mtls.nginx.client_cert" in listed
    assert not (installed / "tests").exists()


def test_the_server_is_the_controller(site, upstream):
    """The three files of the README, as they stand but for ports, and its commands but the last."""
    (site.inventory / "group_vars" / "all").rmdir()  # made by the fixture: here all of it comes from the README
    nginx, port = site.add_host("nas"), free_port()
    files = {}
    for block in blocks("yaml"):
        first, _newline, text = block.partition("\n")
        files[first.removeprefix("# ").removeprefix("inventory/")] = text
    assert sorted(files) == ["group_vars/all/mtls.yml", "host_vars/nas.yml", "hosts.yml"]
    service = "    upstream: http://127.0.0.1:5000\n"
    assert service in files["host_vars/nas.yml"]
    files["host_vars/nas.yml"] = files["host_vars/nas.yml"].replace(
        service, f"    upstream: {upstream}\n    listen: 127.0.0.1:{port}\n"
    )
    files["group_vars/all/vault.yml"] = "vault_mtls_ca_passphrase: of the newcomer\n"
    for name, text in files.items():
        path = site.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (site.folder / "vault.password").write_text("of the vault\n")
    shell("ansible-vault encrypt --vault-password-file vault.password inventory/group_vars/all/vault.yml", site.folder)

    own = " ".join(
        [
            "--vault-password-file vault.password",
            f"-e ansible_python_interpreter={sys.executable}",  # the first one that Ansible finds may be pyenv's shim
            f"-e mtls_nginx_conf={nginx.conf}",
            f"-e mtls_nginx_log_dir={nginx.folder}/log",
        ]
    )
    check, apply, keep = console("mtls.nginx.site")
    assert keep == apply.replace("site", "upkeep")  # test_upkeep.py runs it, on a machine of its own
    plan = shell(f"{check} {own}", site.folder)
    assert "nginx would accept it" in plan
    assert not site.pki.exists()
    assert not (nginx.folder / "conf.d" / "mtls-nas.conf").exists()
    shell(f"{apply} {own}", site.folder)
    asked = {
        name: site.status(port, client=name, host="secure.example.com") for name in ("iphone-admin", "laptop-work")
    }
    assert asked == {"iphone-admin": 200, "laptop-work": 200}
    assert site.status(port, host="secure.example.com") == 400
    assert (site.pki / "clients" / "iphone-admin" / "iphone-admin.html").exists()
    assert "ENCRYPTED" in (site.pki / "ca.key").read_text()
