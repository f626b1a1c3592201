# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that read nginx's configuration read ours: crossplane, gixy-ng, and whatever takes `nginx -T`."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import crossplane
import pytest

from .client import ask
from .nginxes import REPOSITORY
from .upstream import path_of

SNIPPET = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name photos.test;
    include snippets/mtls-photos.conf;
    location / { root www; }
}
"""


@pytest.fixture(scope="module")
def host(module_host, authority, upstream):
    """Every line of every template, but for what only other versions of nginx get."""
    made = module_host()
    people = {"admin": {"CN": "admin"}, "pepe": {"O": 'A "quoted" name', "CN": "José, \\ the $first; {1}"}}
    authority.issue({name: subject for name, subject in people.items() if name not in authority.clients})
    made.name_servers, made.names = ["192.0.2.53"], {"backend.test": "backend.test"}
    made.shutdown_timeout = 30
    everything = {
        "allow": ["admin", "pepe"],
        "public_paths": ["/open/", "/hook"],
        "exempt_networks": ["192.168.7.0/24"] if made.build.has_geo else [],
        "cors_preflight": True,
        "paths": [{"path": "/list/", "allow": ["pepe"]}],
    }
    tls = {"verify": True, "ca": "ca.crt", "name": None, "client": "admin"}
    services = [
        {
            "name": "nas",
            "server_names": ["nas.test", "*.nas.test"],
            "upstream": "https://backend.test/app",
            "upstream_tls": tls,
            "upstream_host": "app.lan",
            "identity_headers": "rfc9440",
            "hsts": {"max_age": 60},
            "max_body_size": "1g",
            "request_buffering": False,
            "response_buffering": False,
            "read_timeout": 60,
            "redirect_http": True,
            "acme_upstream": "http://backend.test",
            "public_port": 443,
            **everything,
        },
        {"name": "files", "server_names": ["files.test"], "root": f"{made.folder}/www", "allow": ["admin"]},
        {"name": "plain", "server_names": ["plain.test"], "upstream": upstream.url},
        {"name": "photos", "server_names": ["photos.test"], "snippet": True, **everything},
    ]
    made.ours(services, authority, neighbours={"photos": SNIPPET}, upstream_cas={"nas": authority.chain})
    return made


def said(host, *arguments: str) -> str:
    command = [*host.build.command, *arguments, "-p", str(host.folder), "-c", "nginx.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tokens(blocks: list[dict]) -> list[list]:
    return [[each["directive"], *each["args"], *tokens(each.get("block", []))] for each in blocks]


def parsed(path: pathlib.Path) -> dict[str, list]:
    """The tokens of each file that the configuration includes."""
    payload = crossplane.parse(str(path))
    assert payload["errors"] == []
    return {each["file"]: tokens(each["parsed"]) for each in payload["config"]}


def test_crossplane_reads_what_nginx_reads(host, tmp_path):
    """Each file, and the same again from the output of `nginx -T`."""
    files = parsed(host.folder / "nginx.conf")
    ours = {path: found for path, found in files.items() if "mtls" in pathlib.Path(path).name}
    assert len(ours) == 5
    whole = said(host, "-T").split("# configuration file ")
    for path, found in ours.items():
        (text,) = [part.partition(":\n")[2] for part in whole if part.startswith(f"{path}:\n")]
        again = tmp_path / pathlib.Path(path).name
        again.write_text(text)
        alone = crossplane.parse(str(again), single=True, check_ctx=False)
        assert alone["errors"] == []
        assert tokens(alone["config"][0]["parsed"]) == found


# What gixy-ng says of our files though it is not so, or is the host's own to say: docs/security.md has a line each.
FALSE_ALARMS = {"default_server_flag", "weak_ssl_tls", "version_disclosure", "hsts_header", "http_splitting"}


def test_gixy_reads_each_file_and_says_nothing_new(host):
    program = pathlib.Path(sys.executable).with_name("gixy")
    command = [program, "--format", "json", str(host.folder / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "CRITICAL" not in done.stderr
    alarms = [alarm for alarm in json.loads(done.stdout) if "mtls" in pathlib.Path(alarm["file"]).name]
    assert {alarm["plugin"] for alarm in alarms} == FALSE_ALARMS
    page = (REPOSITORY / "docs" / "security.md").read_text()
    assert [plugin for plugin in FALSE_ALARMS if f"| `{plugin}` |" not in page] == []


def test_gixy_finds_what_it_should_in_the_same_files(host):
    """It has read them: a hole beside ours is one that it sees."""
    hole = host.folder / "conf.d" / "mtls-hole.conf"
    hole.write_text("server { listen 127.0.0.1:1; location /files { alias /srv/files/; } }")
    try:
        program = pathlib.Path(sys.executable).with_name("gixy")
        command = [program, "--format", "json", str(host.folder / "nginx.conf")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "alias_traversal" in {alarm["plugin"] for alarm in json.loads(done.stdout)}
    finally:
        hole.unlink()


def test_no_line_break_of_a_path_gets_to_the_upstream(new_host, authority, upstream, upstream_heads, tls):
    """What gixy-ng fears of `rewrite ^ /app$uri break`."""
    made = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "allow": ["admin"], "public_paths": ["/open/"]}
    authority.client("admin")
    made.ours([{**service, "upstream": f"{upstream.url}/app"}], authority)
    block = made.folder / "conf.d" / "mtls-nas.conf"
    # As where the upstream has a name, for which nginx would ask a name server.
    rewritten = f"rewrite ^ /app$uri break; proxy_pass {upstream.url};"
    block.write_text(block.read_text().replace(f"proxy_pass {upstream.url}/app/;", rewritten))
    assert rewritten in block.read_text()
    made.start()
    answer = ask(made.port, "/x%0d%0aX-Forged:%201", tls=tls, client=authority.client("admin"))
    (head,) = upstream_heads.take()
    assert (answer.status, path_of(head)) == (200, "/app/x%0D%0AX-Forged:%201")
    assert "\r\nX-Forged" not in head
