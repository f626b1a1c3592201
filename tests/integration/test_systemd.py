# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution's own nginx, started and reloaded by a systemd that has booted. Each test builds on the last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_unit

from .booted import Booted
from .conftest import REPOSITORY, Site

pytestmark = pytest.mark.skipif(
    not Path("/lib/systemd/system/nginx.service").exists(), reason="nginx is not the distribution's package"
)

COLLECTIONS = REPOSITORY / "build" / "collections"
NAS = {"name": "nas", "server_names": ["nas.lan"], "listen": "127.0.0.1:8443", "root": "/srv"}
SITES = "/etc/nginx/sites-enabled/shop"
DROP_INS = "/etc/systemd/system/nginx.service.d"
HARDENED = f"{DROP_INS}/hardened.conf"
NEVER = f"{DROP_INS}/never.conf"
CLIENTS = ("phone", "laptop", "tablet", "watch", "clock", "mobile", "pad", "reader")
CRL = "/etc/nginx/client-certs/crl.pem"


class Home:
    """A machine whose nginx is Debian's, and which is its own controller.

    ``foreseen`` is what check mode has said before there was anything, ``first`` what the first run has said.
    """

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "home")
        self.site.add_host("nas", mtls_services=[NAS])
        for name in ("mtls_nginx_conf", "mtls_nginx_log_dir"):
            del self.site.host_vars["nas"][name]
        self.site.all_vars |= {
            "ansible_become": False,
            "mtls_fleet_clients": [{"name": name} for name in CLIENTS],
        }
        self.environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "PYTHONPATH": str(COLLECTIONS),
        }
        self.machine = Booted(folder, folder, REPOSITORY, Path(sys.prefix), Path(sys.base_prefix))
        # Whatever has become of nginx on this machine: as its package leaves it.
        self.sh("echo 127.0.0.1 localhost nas.lan >/etc/hosts; rm -rf /etc/nginx/conf.d/* /etc/nginx/client-certs")
        self.sh(f"rm -rf {DROP_INS} /etc/nginx/sites-enabled/* /var/log/nginx/*; mkdir -p {DROP_INS}")
        self.sh(f"rmdir {DROP_INS}; systemctl enable --now nginx")
        self.foreseen = self.said("site", "--check", "--diff", ok=True)
        self.untouched = self.sh(f"ls {DROP_INS}", check=False).startswith("ls: cannot access")
        self.first = self.said("site", ok=True)

    def tidy(self) -> None:
        """Take away what a test has left, and start nginx anew."""
        self.sh(f"rm -f {HARDENED} {NEVER} {SITES}; sed -i /late/d /etc/hosts; systemctl daemon-reload")
        self.sh("systemctl reset-failed nginx; systemctl restart nginx")

    def sh(self, command: str, *, check: bool = True) -> str:
        return self.machine.run("sh", "-c", command, check=check).stdout

    def write(self, path: str, text: str) -> None:
        self.machine.run("sh", "-c", 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"', "write", path, textwrap.dedent(text))

    def play(self, playbook: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        self.site.write()
        command = ["ansible-playbook", "-i", self.site.source, f"mtls.nginx.{playbook}"]
        run = self.machine.run(*command, *arguments, check=False, **self.environment)
        assert "Traceback" not in run.stdout, run.stdout
        return run

    def said(self, playbook: str, *arguments: object, ok: bool) -> str:
        run = self.play(playbook, *arguments)
        assert (run.returncode == 0) is ok, run.stdout
        return " ".join(run.stdout.split())

    def reload(self) -> tuple[bool, str, float]:
        """What the transaction does to nginx, as the handler of the role asks for it: done, its words, seconds."""
        code = (
            "import time\n"
            "from ansible_collections.mtls.nginx.plugins.module_utils.host import transaction\n"
            "from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx\n"
            "from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest\n"
            "began = time.monotonic()\n"
            "try:\n"
            "    nginx = Nginx('/usr/sbin/nginx', '/etc/nginx/nginx.conf')\n"
            "    outcome = transaction.run(nginx, ChangeRequest(reload=True))\n"
            "    print('done', time.monotonic() - began, outcome.message)\n"
            "except Exception as error:\n"
            "    print('failed', time.monotonic() - began, error)\n"
        )
        words = self.machine.run(sys.executable, "-c", code, **self.environment).stdout
        word, seconds, text = words.strip().split(" ", 2)
        return word == "done", text, float(seconds)

    def unit(self, name: str) -> str:
        return self.sh(f"systemctl show nginx --property={name} --value").strip()

    def status(self, client: str) -> str:
        """What the gate answers this client; 000 is no answer."""
        stem = self.site.pki / "clients" / client / client
        to = ("--resolve", "nas.lan:8443:127.0.0.1", "--cert", f"{stem}.crt", "--key", f"{stem}.key")
        shown = ("--silent", "--max-time", "5", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}")
        address = "https://nas.lan:8443/.mtls-nginx-gate"
        return self.machine.run("curl", *shown, *to, address, check=False).stdout

    def comes_up(self, seconds: float = 15) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.unit("ActiveState") == "active":
                return True
            time.sleep(0.2)
        return False


def harden(home: Home, settings: str) -> None:
    """Confine the unit, as an administrator does."""
    home.write(HARDENED, f"[Service]\n{textwrap.dedent(settings)}")
    home.sh("systemctl daemon-reload; systemctl restart nginx", check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("systemd"))
    yield home
    home.machine.off()


@pytest.fixture
def home(made):
    made.tidy()
    return made


def test_check_mode_says_it_and_the_run_does_it(home):
    assert re.search(r"\(all\) .*restart after a failure .*would be created", home.foreseen), home.foreseen
    assert "+Restart=on-failure" in home.foreseen
    assert home.untouched
    assert re.search(r"\(all\) .*restart after a failure .*created", home.first), home.first
    assert [home.unit("Restart"), home.unit("RestartUSec")] == ["on-failure", "5s"]
    assert home.unit("NeedDaemonReload") == "no"
    assert home.sh(f"stat --format=%a {nginx_unit.DROP_IN}") == "644\n"
    assert home.status("phone") == "204"


def test_a_second_run_changes_nothing(home):
    run = home.play("site")
    assert re.search(r"^nas +: ok=\d+ +changed=0 .*failed=0", run.stdout, re.MULTILINE), run.stdout
    assert "nginx_config" not in run.stdout


def test_nginx_comes_up_once_a_name_resolves(home):
    home.write(SITES, "server { listen 127.0.0.1:8080; location / { proxy_pass http://late.lan:80; } }\n")
    home.sh("systemctl restart nginx", check=False)
    assert home.unit("ActiveState") == "activating"
    home.sh("echo 127.0.0.1 late.lan >>/etc/hosts")
    assert home.comes_up()
    assert home.status("phone") == "204"


def test_a_run_need_not_wait_for_systemd(home):
    home.write(SITES, "server { listen 127.0.0.1:8080; location / { proxy_pass http://late.lan:80; } }\n")
    home.sh("systemctl restart nginx", check=False)
    assert home.unit("ActiveState") == "activating"
    home.sh("echo 127.0.0.1 late.lan >>/etc/hosts")
    done, words, seconds = home.reload()
    assert (done, home.unit("ActiveState")) == (True, "active"), words
    assert seconds < 4


@pytest.mark.parametrize(("more", "tried"), [("", True), ("Restart=no\n", False)], ids=["systemd", "nobody"])
def test_a_run_that_cannot_start_nginx_leaves_it_to_whom_it_was_left(home, more, tried):
    setting = "ReadOnlyPaths=/var/log/nginx"  # `nginx -t` of a run does not meet that
    harden(home, f"{setting}\n{more}")
    assert (home.unit("ActiveState") == "activating") is tried
    done, words, _seconds = home.reload()
    assert not done
    assert f"(nginx.service is confined by {HARDENED}: {setting})" in words
    assert words.endswith("Every file is as it was before, and nginx is not running, as before.")
    home.sh(f"rm {HARDENED}; systemctl daemon-reload")
    assert home.comes_up(15 if tried else 7) is tried
    home.sh("systemctl start nginx")


def test_a_configuration_in_order_starts_after_any_number_of_failures(home):
    home.write(NEVER, "[Service]\nRestart=no\n")
    home.write(SITES, "sever { }\n")
    home.sh("systemctl daemon-reload; for i in 1 2 3 4 5 6; do systemctl restart nginx; done", check=False)
    assert home.unit("Result") == "exit-code"
    home.sh(f"rm {SITES}")
    refused = home.sh("systemctl start nginx", check=False)  # what the fix is about
    assert "failed because the control process exited with error code" in refused or "start request" in refused
    done, words, _seconds = home.reload()
    assert (done, words) == (True, "nginx started")
    assert home.status("phone") == "204"


def test_a_drop_in_of_the_hosts_own_counts_more(home):
    home.write(NEVER, "[Service]\nRestart=no\n")
    home.sh("systemctl daemon-reload")
    assert home.unit("Restart") == "no"
    run = home.play("site")
    assert re.search(r"^nas +: ok=\d+ +changed=0 ", run.stdout, re.MULTILINE), run.stdout
    home.sh(f"rm {NEVER}; systemctl daemon-reload")
    assert home.unit("Restart") == "on-failure"


def test_a_broken_file_that_a_reload_has_survived_is_the_first_thing_the_status_says(home):
    home.write(SITES, "sever { }\n")
    home.sh("systemctl reload nginx", check=False)
    assert home.status("phone") == "204"
    said = home.said("status", "-e", "mtls_status_live=true", ok=False)
    assert "1 service: The next restart stops nginx: what runs is older than a file that it would not" in said
    assert f'nas (nginx refuses its configuration: [emerg] unknown directive "sever" in {SITES}:1)' in said
    home.sh("systemctl restart nginx", check=False)  # what a package's update does
    assert home.status("phone") == "000"
    home.sh(f"rm {SITES}")
    assert home.comes_up()


# What of systemd.exec(5) nginx starts with, reloads with and takes a new CRL with: the table in docs/security.md.
WORKS = """\
    ProtectSystem=full
    PrivateDevices=yes
    NoNewPrivileges=yes
    MemoryDenyWriteExecute=yes
    ProtectKernelTunables=yes
    ProtectProc=invisible
    RestrictSUIDSGID=yes
    RestrictNamespaces=yes
    LockPersonality=yes
    RestrictAddressFamilies=AF_INET AF_INET6
    SystemCallFilter=@system-service
    CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_DAC_OVERRIDE
    """
STRICT = """\
    ProtectSystem=strict
    ReadWritePaths=/run /var/lib/nginx /var/log/nginx
    """
FOLDER = "BindReadOnlyPaths=/etc/nginx/client-certs\n"


@pytest.mark.parametrize(
    ("settings", "client"),
    [(WORKS, "laptop"), (STRICT, "tablet"), (FOLDER, "watch"), (f"BindReadOnlyPaths={CRL}\n", "clock")],
    ids=["full", "strict", "folder", "file"],
)
def test_what_confines_nginx_and_lets_a_revocation_in(home, settings, client):
    harden(home, settings)
    assert (home.status("phone"), home.status(client)) == ("204", "204")
    home.said("revoke", "-e", f"mtls_revoke={client}", ok=True)
    assert (home.status("phone"), home.status(client)) == ("204", "400")
    done, words, _seconds = home.reload()
    assert done, words


@pytest.mark.parametrize(
    "setting", ["SystemCallFilter=~@privileged", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID"]
)
def test_what_confines_nginx_too_much_is_named_at_once(home, setting):
    home.sh("chown www-data:adm /var/log/nginx/*.log; chmod 640 /var/log/nginx/*.log")  # as logrotate makes them
    harden(home, f"{setting}\nRestart=no\n")
    assert home.status("phone") == "000"
    done, words, seconds = home.reload()
    assert not done
    assert f"(nginx.service is confined by {HARDENED}: {setting})" in words
    assert seconds < 10


def test_another_file_in_the_place_of_ours_is_named_before_anything_is_changed(home):
    home.sh(f"cp {CRL} /srv/crl.pem")
    bound = f"BindReadOnlyPaths=/srv/crl.pem:{CRL}"
    harden(home, f"{bound}\n")
    before = home.sh(f"cat {CRL}")
    home.site.all_vars["mtls_fleet_clients"][0]["state"] = "revoked"
    said = home.said("site", ok=False)
    seen = f"nginx does not see {CRL}, but something else in its place, because of {HARDENED}: {bound}. Remove that, or"
    assert seen in said
    assert "Nothing was changed" in said
    assert home.sh(f"cat {CRL}") == before
    said = home.said("revoke", "-e", "mtls_revoke=phone", ok=False)
    assert f"nginx has read it, and will not when it starts again: {seen}" in said
    assert (home.status("phone"), home.status("mobile")) == ("400", "204")


def test_another_folder_in_the_place_of_ours_is_named_as_long_as_it_is_there(home):
    folder = os.path.dirname(CRL)
    home.sh(f"cp -r {folder} /srv/certs")
    harden(home, f"BindReadOnlyPaths=/srv/certs:{folder}\n")
    for _again in range(2):
        said = home.said("revoke", "-e", "mtls_revoke=mobile", ok=False)
        assert "the running nginx still lets in whoever was revoked since: nginx does not see" in said
        assert home.status("mobile") == "204"
    harden(home, FOLDER)
    assert (home.status("mobile"), home.status("pad")) == ("400", "204")
    home.said("revoke", "-e", "mtls_revoke=mobile", ok=True)


@pytest.mark.parametrize(
    ("setting", "client"),
    [(f"LoadCredential=crl:{CRL}", "pad"), (f"BindReadOnlyPaths={CRL}:/srv/crl.pem", "reader")],
    ids=["credential", "bound"],
)
def test_what_shows_nginx_an_old_one_elsewhere_is_named(home, setting, client):
    harden(home, f"{setting}\n")
    assert home.status(client) == "204"
    said = home.said("revoke", "-e", f"mtls_revoke={client}", ok=True)
    assert f"{CRL} changes, but {HARDENED} ({setting}) shows nginx the one from when it started" in said
    assert home.status(client) == "400"
    home.sh(f"rm {HARDENED}; systemctl daemon-reload; systemctl restart nginx")


def test_the_last_service_takes_the_drop_in_with_it(home):
    home.site.all_vars["mtls_nginx_restart"] = "{{ inventory_hostname != 'nas' }}"
    said = home.said("site", "--check", ok=True)
    assert re.search(r"restart after a failure .*would be removed", said), said
    assert home.unit("Restart") == "on-failure"
    home.said("site", ok=True)
    assert home.unit("Restart") == "no"
    assert home.sh(f"ls {DROP_INS}", check=False).startswith("ls: cannot access")
    del home.site.all_vars["mtls_nginx_restart"]
    home.said("site", ok=True)
    assert home.unit("Restart") == "on-failure"
    home.site.host_vars["nas"]["mtls_services"] = [{**NAS, "state": "absent"}]
    home.said("site", ok=True)
    assert home.unit("Restart") == "no"
    assert home.sh("find /etc/systemd -name '*mtls*'") == ""
