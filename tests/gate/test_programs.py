# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/programs.md says of everyday programs, with those that are installed.

Each gets in with its certificate as the page gives it, and says at 400 and at 403 what stands there, with that status.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.mtls.nginx.tests.ports import free_port

from . import pki

_PAGE = pathlib.Path(__file__).parents[2] / "docs" / "programs.md"
_SECONDS = 90
_PEM = serialization.Encoding.PEM
_TITLES = {400: "Your certificate was not accepted", 403: "This is not open to you"}
_PLUGINS = "/usr/lib/nagios/plugins"


@dataclass(frozen=True)
class Box:
    """The folder of one caller, its home: the files it was handed out, and where it is to go."""

    path: pathlib.Path
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def place(self) -> str:
        return f"localhost:{self.port}"

    def file(self, name: str, text: str | bytes | None = None) -> str:
        """Return the path of a file, which is written first if there is a text."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    @property
    def crt(self) -> str:
        return self.file("own.crt")

    @property
    def key(self) -> str:
        return self.file("own.key")

    @property
    def pem(self) -> str:
        return self.file("own.pem")

    @property
    def ca(self) -> str:
        return self.file("ca.crt")


@dataclass(frozen=True)
class Call:
    """How a program is started; ``seconds`` is how long it is waited for."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    entered: str = ""
    seconds: int = _SECONDS


def _pip(box: Box) -> Call:
    index = (
        "--index-url",
        f"{box.url}/simple",
        "--no-deps",
        "--retries",
        "0",
        "--no-cache-dir",
        "--dest",
        box.file("out"),
    )
    own = ("--client-cert", box.pem, "--cert", box.ca)
    return Call([sys.executable, "-m", "pip", "download", *own, *index, "some-package"])


def _uv(box: Box) -> Call:
    options = ("--no-cache", "--target", box.file("out"), "--no-deps", "--index-url", f"{box.url}/simple")
    own = {"SSL_CLIENT_CERT": box.pem, "SSL_CERT_FILE": box.ca, "UV_PYTHON_DOWNLOADS": "never"}
    return Call(["uv", "pip", "install", "--python", sys.executable, *options, "some-package"], own)


def _poetry(box: Box) -> Call:
    source = f'[[tool.poetry.source]]\nname = "gate"\nurl = "{box.url}/simple"\npriority = "primary"\n'
    about = '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["some-package"]\n'
    box.file("pyproject.toml", f"{about}[tool.poetry]\npackage-mode = false\n{source}")
    box.file("poetry.toml", f'[certificates.gate]\ncert = "{box.ca}"\nclient-cert = "{box.pem}"\n')
    return Call(["poetry", "lock", "--no-interaction", "--no-cache"], {"POETRY_VIRTUALENVS_CREATE": "false"})


def _twine(box: Box) -> Call:
    wheel = box.file("a-1-py3-none-any.whl")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: a\nVersion: 1\n")
        archive.writestr("a-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("a-1.dist-info/RECORD", "")
    own = ("--client-cert", box.pem, "--cert", box.ca, "--username", "a", "--password", "b", "--non-interactive")
    return Call(["twine", "upload", "--repository-url", f"{box.url}/legacy/", *own, wheel])


def _npm(box: Box) -> Call:
    lines = [f"registry={box.url}/", f"cafile={box.ca}", "fetch-retries=0", "audit=false", "update-notifier=false"]
    own = [f"//{box.place}/:certfile={box.crt}", f"//{box.place}/:keyfile={box.key}"]
    box.file(".npmrc", "\n".join([*lines, *own]))
    return Call(["npm", "view", "some-package", "--cache", box.file("cache")])


def _pnpm(box: Box) -> Call:
    _npm(box)
    return Call(["pnpm", "view", "some-package"], {"XDG_CACHE_HOME": box.file("cache")})


def _yarn(box: Box) -> Call:
    one_line = {
        name: pathlib.Path(path).read_text().replace("\n", "\\n")
        for name, path in (("cert", box.crt), ("key", box.key))
    }
    own = [f'{name}="{text}"' for name, text in one_line.items()]
    box.file(".npmrc", "\n".join([f"registry={box.url}/", f"cafile={box.ca}", *own]))
    box.file("package.json", '{"name": "a", "version": "1.0.0", "license": "MIT"}')
    return Call(["yarn", "add", "some-package", "--no-lockfile", "--cache-folder", box.file("cache")])


def _wscat(box: Box) -> Call:
    """It leaves at the end of its input, so that stays open for a while."""
    own = ("--cert", box.crt, "--key", box.key, "--ca", box.ca)
    waiting = ("sh", "-c", 'sleep 5 | exec "$0" "$@"')
    return Call([*waiting, "wscat", *own, "-c", f"wss://{box.place}/socket", "-x", "hello"])


def _newman(box: Box) -> Call:
    about = {"name": "a", "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"}
    item = {"name": "one", "request": {"method": "GET", "url": f"{box.url}/secret"}}
    box.file("collection.json", json.dumps({"info": about, "item": [item]}))
    own = ("--ssl-client-cert", box.crt, "--ssl-client-key", box.key, "--ssl-extra-ca-certs", box.ca)
    return Call(["newman", "run", box.file("collection.json"), "--color", "off", *own])


def _skopeo(box: Box) -> Call:
    folder = f"certs.d/{box.place}"
    for name, path in (("x.cert", box.crt), ("x.key", box.key), ("ca.crt", box.ca)):
        box.file(f"{folder}/{name}", pathlib.Path(path).read_bytes())
    return Call(["skopeo", "inspect", "--cert-dir", box.file(folder), f"docker://{box.place}/thing"])


def _docker(box: Box) -> Call:
    for name, path in (("cert.pem", box.crt), ("key.pem", box.key), ("ca.pem", box.ca)):
        box.file(f"tls/{name}", pathlib.Path(path).read_bytes())
    place = {"DOCKER_HOST": f"tcp://{box.place}", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": box.file("tls")}
    return Call(["docker", "ps"], place)


def _restic(box: Box) -> Call:
    own = ("--tls-client-cert", box.pem, "--cacert", box.ca, "--no-cache")
    return Call(["restic", "-r", f"rest:{box.url}/", *own, "cat", "config"], {"RESTIC_PASSWORD": "x"}, seconds=15)


def _rclone(box: Box) -> Call:
    own = ("--client-cert", box.crt, "--client-key", box.key, "--ca-cert", box.ca)
    box.file("rclone.conf", "")
    once = ("--config", box.file("rclone.conf"), "--retries", "1", "--low-level-retries", "1")
    return Call(["rclone", "cat", *own, *once, "--http-url", box.url, ":http:secret"])


def _git_settings(box: Box) -> None:
    text = f"[http]\nsslCert = {box.crt}\nsslKey = {box.key}\nsslCAInfo = {box.ca}\n"
    box.file(".gitconfig", f"{text}[lfs]\nconcurrenttransfers = 1\n[user]\nname = a\nemail = a@example.com\n")


def _git(box: Box) -> Call:
    _git_settings(box)
    return Call(["git", "ls-remote", f"{box.url}/thing.git"])


def _git_lfs(box: Box) -> Call:
    _git_settings(box)
    repository = box.file("repository")
    if not os.path.isdir(repository):
        subprocess.run(["git", "init", "--quiet", repository], check=True)
        git = ("git", "-C", repository)
        subprocess.run([*git, "remote", "add", "origin", f"{box.url}/thing.git"], check=True)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 7\n"
        box.file("repository/big", pointer)
        box.file("repository/.gitattributes", "big filter=lfs diff=lfs merge=lfs -text\n")
        subprocess.run([*git, "add", "."], check=True)
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run([*git, *who, "commit", "--quiet", "-m", "one"], check=True)
    return Call(["git", "-C", repository, "lfs", "fetch", "origin", "HEAD"])


def _svn(box: Box) -> Call:
    own = f"ssl-client-cert-file = {box.file('own.p12')}\nssl-client-cert-password = secret\n"
    box.file("settings/servers", f"[global]\nssl-authority-files = {box.ca}\n{own}")
    return Call(["svn", "info", "--non-interactive", "--config-dir", box.file("settings"), f"{box.url}/thing"])


def _hg(box: Box) -> Call:
    box.file(".hgrc", f"[web]\ncacerts = {box.ca}\n[auth]\nx.prefix = *\nx.cert = {box.crt}\nx.key = {box.key}\n")
    return Call(["hg", "identify", f"{box.url}/thing"])


def _lftp(box: Box) -> Call:
    settings = (
        f"set ssl:cert-file {box.crt}; set ssl:key-file {box.key}; set ssl:ca-file {box.ca}; set net:max-retries 1"
    )
    return Call(["lftp", "-c", f"{settings}; open {box.url}; cat secret"])


def _aria2(box: Box) -> Call:
    """It sends a server name that has a dot only, so it is given one, in a mount namespace of its own."""
    own = (f"--certificate={box.crt}", f"--private-key={box.key}", f"--ca-certificate={box.ca}")
    hosts = box.file("hosts", "127.0.0.1 localhost nas.test\n")
    alone = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
    download = ("--max-tries=1", "--async-dns=false", f"--dir={box.file('out')}", f"https://nas.test:{box.port}/secret")
    return Call([*alone, "aria2c", *own, *download])


def _httpie(box: Box) -> Call:
    own = ("--cert", box.crt, "--cert-key", box.key, "--verify", box.ca)
    return Call(["http", "--ignore-stdin", *own, f"{box.url}/secret"])


def _ansible(box: Box, module: str, options: str) -> Call:
    own = f"client_cert={box.crt} client_key={box.key}"
    arguments = f"url={box.url}/secret {own} {options}"
    trust = {"SSL_CERT_FILE": box.ca}
    return Call([_beside_python("ansible"), "localhost", "-m", f"ansible.builtin.{module}", "-a", arguments], trust)


def _uri(box: Box) -> Call:
    return _ansible(box, "uri", "")


def _get_url(box: Box) -> Call:
    return _ansible(box, "get_url", f"dest={box.file('fetched')}")


def _beside_python(name: str) -> str:
    return str(pathlib.Path(sys.executable).with_name(name))


def _requests(box: Box) -> Call:
    lines = f"answer = requests.get({box.url!r}, cert={box.pem!r}, verify={box.ca!r}); print(answer.text)"
    return Call([sys.executable, "-c", f"import requests; {lines}"])


def _check_http(box: Box) -> Call:
    path = f"{_PLUGINS}/check_http"
    return Call([path, "-H", "localhost", "-p", str(box.port), "-S", "--sni", "-J", box.crt, "-K", box.key])


def _ffmpeg(box: Box) -> Call:
    own = ("-cert_file", box.crt, "-key_file", box.key, "-ca_file", box.ca, "-tls_verify", "1")
    return Call(["ffmpeg", "-hide_banner", *own, "-i", f"{box.url}/secret.mp4", "-f", "null", "-"])


def _curl(box: Box) -> Call:
    return Call(["curl", "--silent", "--cert", box.crt, "--key", box.key, "--cacert", box.ca, f"{box.url}/secret"])


def _wget(box: Box) -> Call:
    own = (f"--certificate={box.crt}", f"--private-key={box.key}", f"--ca-certificate={box.ca}")
    return Call(["wget", "--tries=1", *own, "-O", box.file("fetched"), f"{box.url}/secret"])


def _wget2(box: Box) -> Call:
    return Call(["wget2", *_wget(box).command[1:]])


# By the program's name on the page, in the first column.
_CALLS: dict[str, Callable[[Box], Call]] = {
    "pip": _pip,
    "uv": _uv,
    "poetry": _poetry,
    "twine": _twine,
    "npm": _npm,
    "pnpm": _pnpm,
    "yarn 1.22": _yarn,
    "wscat": _wscat,
    "newman": _newman,
    "skopeo": _skopeo,
    "docker": _docker,
    "restic": _restic,
    "rclone": _rclone,
    "git": _git,
    "git-lfs": _git_lfs,
    "svn": _svn,
    "hg": _hg,
    "lftp": _lftp,
    "aria2": _aria2,
    "curl": _curl,
    "wget": _wget,
    "wget2": _wget2,
    "httpie": _httpie,
    "Ansible `uri`": _uri,
    "Ansible `get_url`": _get_url,
    "requests": _requests,
    "check_http, check_curl": _check_http,
    "ffmpeg": _ffmpeg,
}
_NEEDS = {"git-lfs": "git-lfs", "aria2": "aria2c", "wscat": "wscat"}  # besides the command that is called


def _rows() -> dict[str, dict[str, str]]:
    """Return the page's tables: the cells of each program by their titles, under its name with and without versions."""
    rows: dict[str, dict[str, str]] = {}
    titles: list[str] = []
    for line in _PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            titles = []
        elif not titles:
            titles = cells
        elif not set(line) <= set("|-"):
            row = dict(zip(titles, cells, strict=True))
            for name in (cells[0], re.sub(r"( \d[\d.]*,?)+$", "", cells[0])):
                rows.setdefault(name, row)
    return rows


def _said(row: Mapping[str, str], status: int) -> list[str]:
    """Return what a program prints according to its row: quoted words, the status, or our text.

    What stands there of 400 holds for 403 too, unless there is something else for it.
    """
    parts = row.get("when refused", "").split(";")
    part = parts[0] if status == 400 else parts[-1]
    found = re.findall('"([^"]+)"', part)
    if len(parts) == 1:
        found = [words.replace("400", str(status)) for words in found]
    found += [str(status)] if "the status" in part else []
    found += [_TITLES[status]] if "the text" in part or "the whole text" in part else []
    return found


def _exits(row: Mapping[str, str], status: int) -> set[int]:
    """Return with what it may end: one number, one for each status, or one for each version."""
    cell = row.get("exit status", "").replace("*", "").partition(";")[0]
    codes = [int(code) for code in re.findall(r"(?<!\d)\d+(?! at)", cell)]
    by_status = re.search(rf"(\d+) at {status}", cell)
    return {int(by_status[1])} if by_status else set(codes)


@pytest.fixture(scope="module")
def callers(authority):
    lost = authority.client("lost with a program")
    authority.revoke(lost)
    authority.client("renewed")
    return {200: authority.client("admin"), 400: lost, 403: authority.client("guest")}


@pytest.fixture(scope="module")
def gate(module_host, authority, running_app, callers):
    host = module_host()
    host.serve_as(authority.server("localhost", "nas.test"))
    service = {
        "name": "nas",
        "server_names": ["localhost", "nas.test"],
        "upstream": running_app.url,
        "allow": ["admin", "renewed"],
    }
    host.ours([service], authority)
    return host.start()


def _box(path: pathlib.Path, port: int, authority: pki.Authority, caller: pki.Identity) -> Box:
    box = Box(path, port)
    certificate = caller.certificate.public_bytes(_PEM)
    key = caller.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    packed = pkcs12.serialize_key_and_certificates(
        b"own", caller.key, caller.certificate, None, serialization.BestAvailableEncryption(b"secret")
    )
    for name, content in (("own.crt", certificate), ("own.key", key), ("own.pem", certificate + key)):
        box.file(name, content)
    box.file("own.p12", packed)
    box.file("ca.crt", authority.chain)
    return box


def _run(call: Call, box: Box) -> tuple[int | None, str]:
    """Return exit status, None for a program that would have gone on, and what it printed."""
    environment = {
        "HOME": str(box.path),
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        **call.environment,
    }
    try:
        done = subprocess.run(
            call.command,
            input=call.entered,
            env=environment,
            cwd=box.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=call.seconds,
            check=False,
            start_new_session=True,  # no terminal to ask on
        )
    except subprocess.TimeoutExpired as error:
        return None, (error.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout


@pytest.mark.long
@pytest.mark.parametrize("program", _CALLS)
def test_a_program_gets_in_and_says_what_the_page_says(gate, authority, callers, app, tmp_path, program):
    boxes = {status: _box(tmp_path / str(status), gate.port, authority, caller) for status, caller in callers.items()}
    for name in (_CALLS[program](boxes[200]).command[0], _NEEDS.get(program, "sh")):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    row = _rows()[program]
    for status, box in boxes.items():
        code, printed = _run(_CALLS[program](box), box)
        seen = app.take()
        if status == 200:
            assert seen, printed
            continue
        assert seen == []
        for words in _said(row, status):
            assert words in printed, (status, words)
        if code is None:
            assert "retries" in row["when refused"], printed
        elif "exit status" in row:
            assert code in _exits(row, status), (status, printed)


def _dn_seen(app) -> str:
    """Return whom the application saw last."""
    return app.take()[-1].headers["x-ssl-client-dn"]


def _renew(box: Box, other: Box) -> None:
    """Put other files into the place of those that a program was started with."""
    for name in ("own.crt", "own.key", "own.pem"):
        os.replace(other.file(name), box.file(name))


@pytest.mark.long
def test_requests_takes_a_renewed_certificate_with_the_next_connection(gate, authority, callers, app, tmp_path):
    requests = pytest.importorskip("requests")
    assert _rows()["requests, niquests, locust, collectd, syslog-ng"]["takes the new certificate"].startswith(
        "with the next"
    )
    box, new = (_box(tmp_path / who, gate.port, authority, authority.client(who)) for who in ("admin", "renewed"))
    with requests.Session() as session:
        session.cert, session.verify, session.trust_env = box.pem, box.ca, False
        for close, dn in ((False, "CN=admin"), (False, "CN=admin"), (True, "CN=renewed")):
            if close:
                session.close()  # its connections: the next request makes one
            assert session.get(f"{box.url}/secret").status_code == 200
            assert _dn_seen(app) == dn
            if pathlib.Path(new.pem).exists():
                _renew(box, new)


@pytest.mark.long
def test_rclone_keeps_the_certificate_that_it_was_started_with(gate, authority, callers, app, tmp_path):
    if shutil.which("rclone") is None:
        pytest.skip("rclone is not installed")
    row = next(line for line in _PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| rclone 1.75 |"))
    assert "once the old one has expired; 1.60 after a restart" in row
    box, new = (_box(tmp_path / who, gate.port, authority, authority.client(who)) for who in ("admin", "renewed"))
    box.file("rclone.conf", "")
    port = free_port()
    own = ("--client-cert", box.crt, "--client-key", box.key, "--ca-cert", box.ca, "--config", box.file("rclone.conf"))
    served = ("--addr", f"127.0.0.1:{port}", "--dir-cache-time", "0s", "--http-url", box.url, ":http:")
    environment = {"HOME": str(box.path), "PATH": os.environ["PATH"]}
    seen = []
    for _start in range(2):
        with open(box.file("log", ""), "w") as log:
            command = ["rclone", "serve", "http", "--disable-http-keep-alives", *own, *served]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            for _request in range(2):
                seen.append(_asked(port, app))
                if pathlib.Path(new.pem).exists():
                    _renew(box, new)
        finally:
            process.terminate()
            process.wait(timeout=_SECONDS)
    assert seen == ["CN=admin", "CN=admin", "CN=renewed", "CN=renewed"]


def _asked(port: int, app) -> str:
    """Have the program that serves at a port ask the gate for something; return whom the application saw."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.HTTPError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/secret", timeout=_SECONDS).close()
        seen = app.take()
        if seen:
            return seen[-1].headers["x-ssl-client-dn"]
        time.sleep(0.2)
    raise AssertionError("the program never asked")
