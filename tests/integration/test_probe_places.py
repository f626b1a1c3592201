# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where a service is asked: hosts that the controller cannot reach, and addresses that a host does not have."""

from __future__ import annotations

import pathlib
import ssl
import subprocess
import sys
import time

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY
from .host import self_signed
from .test_own_certificates import from_elsewhere

ADDRESS = "198.51.100.9"
NO_KEYS = "no client's key is sent to a host, so that entering with a valid certificate was not tried"
# An ssh that needs no network: the host is this machine, whatever it is called.
SSH = """#!/bin/sh
for command; do :; done
exec sh -c "$command"
"""


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def far(site, upstream, port, tmp_path):
    """A host that only ssh knows, by an alias; the controller can neither look it up nor connect to it."""
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    connection = {"ansible_connection": "ssh", "ansible_ssh_executable": str(program), "ansible_pipelining": True}
    return site.add_host(
        "behind-the-bastion",
        mtls_clients=[{"name": "phone"}],
        mtls_services=[service(port, upstream)],
        **connection,
        ansible_ssh_transfer_method="piped",
        ansible_user="root",  # nobody becomes anybody
    )


def service(listen, upstream, **more):
    return {"name": "app", "server_names": ["app.lan"], "listen": str(listen), "upstream": upstream, **more}


def words(run):
    return " ".join(run.text.split())


def test_a_host_that_only_ssh_knows_asks_itself(site, far, upstream, port):
    said = words(site.ok())
    assert "kept out: nobody (no certificate), somebody with the name of 'phone' from a CA of the same name" in said
    assert f"app: asked from the host itself, since the controller cannot connect to behind-the-bastion:{port}:" in said
    assert NO_KEYS in said
    assert site.status(port, host="app.lan", client="phone") == 200
    # The key of a client is nowhere but on the controller.
    key = (site.pki / "clients" / "phone" / "phone.key").read_text().split("\n")[1]
    assert not [path for path in far.folder.rglob("*") if path.is_file() and key in path.read_text(errors="replace")]

    # A gate that is open is seen from there too, where nothing else differs.
    site.host_vars["behind-the-bastion"]["mtls_session_resumption"] = "off"
    site.ok()
    own = far.folder / "conf.d" / "aaa.conf"
    own.write_text((far.folder / "conf.d" / "mtls-app.conf").read_text().replace("# Managed by", "# Not by"))
    own.write_text(
        f"server {{ listen {port} ssl; server_name app.lan; ssl_certificate {far.folder}/server-certs/app.crt;"
        f" ssl_certificate_key {far.folder}/server-certs/app.key; return 200; }}\n"
    )
    subprocess.run(["nginx", "-c", far.conf, "-s", "reload"], check=True, capture_output=True)
    assert "service app: nobody (no certificate) got 200 instead of 400" in site.refused()


def test_what_the_inventory_says_of_it(site, far, upstream, port):
    variables = site.host_vars["behind-the-bastion"]
    variables["mtls_probe_from"] = "controller"
    said = site.refused()
    assert f"(at behind-the-bastion:{port}; if that is not where the service is reached, set its probe_address" in said

    variables["mtls_probe_from"] = "none"
    assert "app: NOT ASKED: mtls_probe_from is none" in words(site.ok())

    variables["mtls_probe_from"] = "host"
    assert f"app: asked from the host itself, as mtls_probe_from says; {NO_KEYS}" in words(site.ok())

    crl = site.run(playbook=REPOSITORY / "playbooks" / "refresh_crl.yml")
    assert crl.returncode == 0, crl.text
    assert f"app: NOT ASKED: as mtls_probe_from says, and {NO_KEYS}" in words(crl)

    variables["mtls_probe_from"] = "moon"
    assert "mtls_probe_from is 'moon'; write controller, host" in site.refused()

    variables["mtls_probe_from"] = "behind-the-bastion"  # the host's own name
    assert f"app: asked from the host itself, as mtls_probe_from says; {NO_KEYS}" in words(site.ok())

    del variables["mtls_probe_from"]
    variables["mtls_services"] = [service(port, upstream, probe_address="127.0.0.1")]
    assert "let in: phone; kept out: nobody (no certificate)" in words(site.ok())

    variables["mtls_services"] = [service(f"127.0.0.1:{port}", upstream)]
    assert "app: asked from the host itself, since it listens on 127.0.0.1 only" in words(site.ok())

    variables["mtls_services"] = [service(port, upstream, probe_address="127.0.0.1:443")]
    assert "probe_address '127.0.0.1:443' is neither an IP address nor a host name" in site.refused()


def test_each_service_is_asked_at_its_own_address(site, upstream, port, tmp_path):
    """The same port on two addresses, with the plugin's fully qualified name."""
    nginx = site.add_host(
        "nas",
        mtls_clients=[{"name": "phone"}],
        mtls_services=[
            service(f"127.0.0.1:{port}", upstream),
            {**service(f"127.0.0.2:{port}", upstream), "name": "other", "server_names": ["other.lan"]},
            {**service(f"[::1]:{port}", upstream), "name": "six", "server_names": ["six.lan"]},
        ],
        ansible_connection="ansible.builtin.local",
    )
    said = words(site.ok())
    assert said.count("let in: phone") == 3
    assert "asked from the host" not in said

    # A good gate behind a certificate that is not the one on disk: programs that verify the server do not go on to it.
    conf, ours = nginx.folder / "conf.d" / "mtls-app.conf", nginx.folder / "server-certs" / "app"
    text, theirs = conf.read_text(), from_elsewhere(tmp_path, "Elsewhere", "app.lan")
    conf.write_text(text.replace(f"{ours}.crt", theirs["path"]).replace(f"{ours}.key", theirs["key"]))
    subprocess.run(["nginx", "-c", nginx.conf, "-s", "reload"], check=True, capture_output=True)
    encoded = ssl.PEM_cert_to_DER_cert(pathlib.Path(theirs["path"]).read_text())
    deadline = time.monotonic() + 30
    while probe.served_certificate(probe.Target("127.0.0.1", port, "app.lan")) != encoded:
        assert time.monotonic() < deadline
    conf.write_text(text)
    assert "service app: it does not serve the certificate that the authority has issued, but one by CN=Elsewhere" in (
        " ".join(site.refused().split())
    )


def test_a_redirect_that_does_not_redirect_is_told(site, upstream):
    address = "127.80.0.10"
    nginx = site.add_host(
        "nas",
        mtls_clients=[{"name": "phone"}],
        mtls_services=[service(f"{address}:443", upstream, redirect_http=True)],
    )
    assert "does not redirect" not in words(site.ok())
    own = nginx.folder / "conf.d" / "own.conf"
    own.write_text(f"server {{ listen {address}:80 proxy_protocol; server_name other.lan; return 204; }}\n")
    subprocess.run(["nginx", "-c", nginx.conf, "-s", "reload"], check=True, capture_output=True)
    said = words(site.ok())
    assert f"app: redirect_http: http://app.lan/ at {address}:80, asked without the PROXY protocol" in said
    assert "(http_proxy_protocol), does not redirect:" in said
    proxied = {"proxy_protocol_from": ["127.0.0.4"], "http_proxy_protocol": True}
    site.host_vars["nas"]["mtls_services"] = [service(f"{address}:443", upstream, redirect_http=True, **proxied)]
    said = words(site.ok())
    assert "does not redirect" not in said
    assert "let in: phone; kept out: nobody (no certificate)" in said


# An address that the host does not have


class Namespace:
    """A network namespace that lives as long as the process in it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        own = pathlib.Path("/proc/self/ns/net").readlink()
        while pathlib.Path(f"/proc/{self.pid}/ns/net").readlink() == own:
            assert self._process.poll() is None
        self.run("ip link set lo up")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("nsenter", "--net", "--target", str(self.pid))

    def run(self, *commands: str) -> None:
        for command in commands:
            subprocess.run([*self.prefix, "sh", "-ec", command], check=True, capture_output=True)

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)


ACTIVE = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
server = socket.create_server((sys.argv[1], int(sys.argv[3])))
print("ready", flush=True)
while True:
    raw, _peer = server.accept()
    try:
        with context.wrap_socket(raw, server_side=True) as connection:
            print("asked", flush=True)
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    except OSError:
        pass
"""


@pytest.fixture
def standby(site, upstream, port, tmp_path):
    """A standby, and the active machine, which has the address and answers 200 to everybody."""
    here, there = Namespace(), Namespace()
    subprocess.run(
        ["ip", "link", "add", "a0", "netns", str(here.pid), "type", "veth", "peer", "b0", "netns", str(there.pid)],
        check=True,
    )
    here.run("ip addr add 198.51.100.1/24 dev a0", "ip link set a0 up")
    there.run(f"ip addr add {ADDRESS}/24 dev b0", "ip link set b0 up")
    both = tmp_path / "active.pem"
    both.write_bytes(b"".join(self_signed("app.lan")))
    log = (tmp_path / "active.log").open("w+")
    active = subprocess.Popen(
        [*there.prefix, sys.executable, "-c", ACTIVE, ADDRESS, both, str(port)], stdout=log, stderr=subprocess.DEVNULL
    )
    site.add_host("nas", mtls_clients=[{"name": "phone"}], mtls_services=[service(f"{ADDRESS}:{port}", upstream)])
    site.started_by = here.prefix
    here.log = tmp_path / "active.log"
    yield here
    site.stop()
    active.kill()
    active.wait()
    log.close()
    for namespace in (here, there):
        namespace.stop()


def test_a_standby_is_set_up_and_the_active_machine_is_not_judged(site, standby, port, tmp_path):
    for arguments in (["--check"], []):
        said = site.refused(*arguments)
        assert f"the host does not have the address {ADDRESS} now, and" in said
        assert "sysctl net.ipv4.ip_nonlocal_bind=1" in said

    standby.run("echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind")
    said = words(site.ok())
    assert f"the gate of app.lan at {ADDRESS}:{port} was not asked, since the host does not have that address" in said
    note = f"app: NOT ASKED: the host does not have the address {ADDRESS} now, and another machine may answer there"
    assert note in said
    again = site.ok()
    assert again.changed == 0
    assert note in words(again)

    # Nor is the active machine's certificate taken for one that nginx serves.
    own = from_elsewhere(tmp_path, "own", "app.lan")
    site.host_vars["nas"]["mtls_services"][0]["certificate"] = own
    site.ok()
    assert site.ok().changed == 0
    assert "asked" not in standby.log.read_text().split(), "the active machine"

    # It becomes the active one.
    standby.run(f"ip addr add {ADDRESS}/32 dev lo")
    said = words(site.ok())
    assert "NOT ASKED" not in said
    assert "let in: phone; kept out: nobody (no certificate)" in said


# Another host of the inventory asks

OWN_ADDRESS = "198.51.100.1"


def far_away(folder, name, namespace):
    """The variables of a host in a namespace, which only ssh reaches."""
    program = folder / f"ssh-{name}"
    program.write_text(SSH.replace("exec sh", f"exec {' '.join(namespace.prefix)} sh"))
    program.chmod(0o755)
    return {
        "ansible_connection": "ssh",
        "ansible_ssh_executable": str(program),
        "ansible_ssh_transfer_method": "piped",
        "ansible_user": "root",
        "ansible_python_interpreter": sys.executable,
    }


@pytest.fixture
def bastion(site, upstream, port, tmp_path):
    """A host and a bastion beside it, each in a network that the controller is not in."""
    here, there = Namespace(), Namespace()
    subprocess.run(
        ["ip", "link", "add", "a0", "netns", str(here.pid), "type", "veth", "peer", "b0", "netns", str(there.pid)],
        check=True,
    )
    here.run(f"ip addr add {OWN_ADDRESS}/24 dev a0", "ip link set a0 up")
    there.run(f"ip addr add {ADDRESS}/24 dev b0", "ip link set b0 up")
    site.add_host(
        "nas",
        mtls_clients=[{"name": "phone"}],
        mtls_services=[service(f"{OWN_ADDRESS}:{port}", upstream)],
        mtls_probe_from="{{ way_in }}",
        way_in="bastion",
        **{**far_away(tmp_path, "nas", here), "ansible_pipelining": True},
    )
    remote = tmp_path / "remote"
    variables = far_away(tmp_path, "bastion", there)
    variables.update(ansible_connection="ansible.builtin.ssh", ansible_remote_tmp=str(remote))
    source = tmp_path / "others.yml"
    source.write_text(yaml.safe_dump({"others": {"hosts": {"bastion": variables}}}))
    there.remote, there.arguments = remote, ("-i", str(source))
    yield there
    site.stop()
    for namespace in (here, there):
        namespace.stop()


def test_another_host_asks(site, bastion, port):
    said = words(site.ok(*bastion.arguments))
    assert "kept out: nobody (no certificate), somebody with the name of 'phone' from a CA of the same name" in said
    assert f"app: asked from bastion, as mtls_probe_from says; {NO_KEYS}" in said
    # It was the bastion that connected, and nothing stays there.
    log = site.hosts["nas"].folder / "log" / "mtls-app.access.log"
    assert {line.split()[0] for line in log.read_text().splitlines()} == {OWN_ADDRESS, ADDRESS}
    assert bastion.remote.is_dir()
    assert not list(bastion.remote.iterdir())
    again = site.ok(*bastion.arguments)
    assert again.changed == 0

    crl = site.run(*bastion.arguments, playbook=REPOSITORY / "playbooks" / "refresh_crl.yml")
    assert crl.returncode == 0, crl.text
    assert f"app: NOT ASKED: as mtls_probe_from says, and {NO_KEYS}" in words(crl)

    # The bastion goes where the service is said to be reached.
    variables = site.host_vars["nas"]
    variables["mtls_services"] = [service("443", "http://127.0.0.1:1", probe_address="198.51.100.77")]
    said = site.refused(*bastion.arguments)
    assert "service app: nobody (no certificate) got" in said
    assert "(at 198.51.100.77:443; if that is not where" in said

    variables["mtls_services"] = [service(f"127.0.0.1:{port}", "http://127.0.0.1:1")]
    said = words(site.ok(*bastion.arguments))
    assert "app: NOT ASKED: it listens on 127.0.0.1 only, where bastion (mtls_probe_from) cannot connect" in said


def test_a_gate_that_is_open_is_seen_from_another_host(site, bastion, port):
    site.ok(*bastion.arguments)
    nginx = site.hosts["nas"]
    (nginx.folder / "conf.d" / "mtls-app.conf").write_text(
        f"server {{ listen {OWN_ADDRESS}:{port} ssl; server_name app.lan;"
        f" ssl_certificate {nginx.folder}/server-certs/app.crt;"
        f" ssl_certificate_key {nginx.folder}/server-certs/app.key; return 200; }}\n"
    )
    subprocess.run(["nginx", "-c", nginx.conf, "-s", "reload"], check=True, capture_output=True)
    status = site.run(
        *bastion.arguments, "-e", "mtls_status_live=true", playbook=REPOSITORY / "playbooks" / "status.yml"
    )
    assert status.returncode != 0
    assert "A gate is open: somebody was let in who must be refused" in words(status)


def test_another_host_that_does_not_answer(site, bastion, tmp_path):
    site.ok(*bastion.arguments)
    (tmp_path / "ssh-bastion").write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 255\n")
    run = site.run(*bastion.arguments)
    said = words(run)
    assert run.returncode != 0
    assert "Traceback" not in said
    assert "host nas, service app: bastion, which asks it (mtls_probe_from), does not answer:" in said
    assert "no route to host" in said
    assert "; see why, or set mtls_probe_from to another host, or to none" in said
    assert "unreachable=1" not in said

    site.host_vars["nas"]["way_in"] = "bastoin"
    said = site.refused(*bastion.arguments)
    assert "mtls_probe_from is 'bastoin', which is not a host of the inventory; did you mean bastion? write" in said
