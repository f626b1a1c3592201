# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs: which version is here, and how each is told to ask. What came of it, the gate's own log says.

A further program is a further line of PROGRAMS.
"""

from __future__ import annotations

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.tests.browser import Browser, selection
from ansible_collections.mtls.nginx.tests.gate.nginxes import REPOSITORY
from ansible_collections.mtls.nginx.tests.ports import free_port

from . import firefox
from .gate import NAME, PASSWORD, SECOND, SITES, Files, Gate
from .processes import PATH, ended, listens

SECONDS = 60
SOURCES = pathlib.Path(__file__).parent / "sources"
_SERVICES = REPOSITORY / "docs" / "services.md"
_DEBIAN_PYTHON = "/usr/bin/python3"
_REQUEST = f"GET /inside HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Visit:
    """Somebody's program, about to ask: with these files, or with this .p12. `home` is a folder of its own."""

    gate: Gate
    home: pathlib.Path
    files: Files | None
    p12: pathlib.Path | None = None
    trusted: pathlib.Path | None = None

    @property
    def ca(self) -> pathlib.Path:
        """Whom the program trusts, if it is to trust another than the gate's authority."""
        return self.trusted or self.gate.ca

    @property
    def pair(self) -> list[str]:
        """Certificate and key, or nothing."""
        return [str(self.files.certificate), str(self.files.key)] if self.files else []

    @property
    def both(self) -> list[str]:
        """The PEM file of both, or nothing."""
        return [str(self.files.both)] if self.files else []

    @property
    def bundle(self) -> list[str]:
        """The .p12 and its password, or nothing."""
        return [str(self.p12), PASSWORD] if self.p12 else []

    def run(self, *command: object, typed: str = "", **environment: str) -> Said:
        """Run a program in the visitor's home."""
        self.home.mkdir(exist_ok=True)
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=self.home,
                env={"HOME": str(self.home), "PATH": PATH, "LC_ALL": "C.UTF-8", **environment},
                input=typed.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return self.said(None, error.stdout or b"")
        return self.said(done.returncode, done.stdout)

    def said(self, status: int | None, output: bytes) -> Said:
        """What a program has said, without the names of the folders of this run."""
        return Said(
            status, output.decode(errors="replace").replace(str(self.home), "~").replace(str(self.gate.folder), "")
        )


@dataclass(frozen=True)
class Said:
    """What a program showed, and its exit status; None if it did not end by itself."""

    status: int | None
    text: str


@dataclass(frozen=True)
class Program:
    """`version` is None where the program is not installed. `ask` sends one request.

    `p12` tells whether it takes a .p12; `pem`, whether it takes PEM files. A `library` has no exit status of its
    own: a few lines in `sources` call it, or it is a browser. A `proxy` passes a caller's request on. `second` asks for
    a second name on the connection of the first. A program with an `instead` does not speak HTTP, so that it gets in
    with nothing; that is what its owner does instead.
    """

    name: str
    version: Callable[[], str | None]
    ask: Callable[[Visit], Said]
    p12: bool = False
    pem: bool = True
    library: bool = False
    proxy: bool = False
    second: Callable[[Visit], Said] | None = None
    instead: str = ""


def program(name: str) -> str | None:
    """The path of a program, if it is installed."""
    return shutil.which(name, path=PATH)


def said_by(*command: str, pattern: str = r"(\d+\.\d+[\w.+-]*)", needs: Sequence[str] = ()) -> Callable[[], str | None]:
    """A version as the program itself says it: what `pattern` finds, its groups separated by spaces.

    `needs` are other programs, without which it cannot be used here.
    """

    @functools.cache
    def version() -> str | None:
        if not all(map(program, (command[0], *needs))):
            return None
        done = subprocess.run(
            [program(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH},
            timeout=SECONDS,
            check=False,
        )
        found = re.search(pattern, done.stdout.decode(errors="replace"))
        return " ".join(found.groups()) if found else None

    return version


def _python(module: str, expression: str, needs: Sequence[str] = ()) -> Callable[[], str | None]:
    """The version of a library of Python's, by an expression."""
    return said_by(sys.executable, "-c", f"import {module}; print({expression})", pattern=r"^(\d.*)", needs=needs)


def _package(name: str, needs: Sequence[str] = ()) -> Callable[[], str | None]:
    """The version of a package from PyPI, in the environment that runs this."""
    return _python("importlib.metadata", f"importlib.metadata.version({name!r})", needs)


# --- how each asks


def _curl(visit: Visit) -> Said:
    return visit.run("curl", *_curl_options(visit), visit.gate.url)


def _curl_second(visit: Visit) -> Said:
    """In one connection: its URLs are of one name."""
    options = _curl_options(visit)
    first = (*options, "--output", "/dev/null", visit.gate.url)
    return visit.run("curl", *first, "--next", *options, "--header", f"Host: {SECOND}", f"{visit.gate.url}/second")


def _curl_options(visit: Visit) -> list[object]:
    pem = ("--cert", visit.pair[0], "--key", visit.pair[1]) if visit.pair else ()
    p12 = ("--cert-type", "P12", "--cert", f"{visit.p12}:{PASSWORD}") if visit.p12 else ()
    return ["--silent", "--show-error", "--cacert", visit.ca, *pem, *p12]


def _wget(which: str) -> Callable[[Visit], Said]:
    def ask(visit: Visit) -> Said:
        pem = (f"--certificate={visit.pair[0]}", f"--private-key={visit.pair[1]}") if visit.pair else ()
        once = ("--tries=1", "--output-document=-", f"--ca-certificate={visit.ca}")
        return visit.run(which, *once, *pem, visit.gate.url)

    return ask


def _like_ssl(module: str) -> Callable[[Visit], Said]:
    def ask(visit: Visit) -> Said:
        return visit.run(sys.executable, SOURCES / "get.py", module, NAME, visit.gate.port, visit.ca, *visit.both)

    return ask


def _requests(module: str) -> Callable[[Visit], Said]:
    def ask(visit: Visit) -> Said:
        return visit.run(sys.executable, SOURCES / "get_requests.py", module, visit.gate.url, visit.ca, *visit.pair)

    return ask


def _awscrt(visit: Visit) -> Said:
    return visit.run(sys.executable, SOURCES / "get_awscrt.py", NAME, visit.gate.port, visit.ca, *visit.pair)


def _httpx(second: str = "") -> Callable[[Visit], Said]:
    def ask(visit: Visit) -> Said:
        return visit.run(sys.executable, SOURCES / "get_httpx.py", second, visit.gate.url, visit.ca, *visit.both)

    return ask


def _pycurl(visit: Visit) -> Said:
    identity = [*visit.both, *visit.bundle]
    return visit.run(_DEBIAN_PYTHON, SOURCES / "get_pycurl.py", visit.gate.url, visit.ca, *identity)


def _httpie(visit: Visit) -> Said:
    pem = ("--cert", visit.pair[0], "--cert-key", visit.pair[1]) if visit.pair else ()
    return visit.run("http", "--ignore-stdin", "--body", "--verify", visit.ca, *pem, visit.gate.url)


def _node(visit: Visit) -> Said:
    return visit.run("node", SOURCES / "get.js", visit.gate.url, visit.ca, *visit.pair, *visit.bundle)


def _node_http2(second: str = "") -> Callable[[Visit], Said]:
    def ask(visit: Visit) -> Said:
        return visit.run("node", SOURCES / "get_http2.js", second, visit.gate.url, visit.ca, *visit.pair)

    return ask


def _java(visit: Visit) -> Said:
    classes = _built(visit, "Get.class", "javac", "-d", visit.gate.folder, SOURCES / "Get.java").parent
    return visit.run("java", "-cp", classes, "Get", visit.gate.url, visit.ca, *visit.bundle)


def _go(way: str, second: str = "") -> Callable[[Visit], Said]:
    def ask(visit: Visit) -> Said:
        built = _built(visit, "get", "go", "build", "-o", visit.gate.folder / "get", SOURCES / "get.go")
        return visit.run(built, way, second, visit.gate.url, visit.ca, *visit.pair)

    return ask


def _wolfssl(visit: Visit) -> Said:
    path = visit.gate.folder / "get_wolfssl"
    built = _built(visit, path.name, "gcc", "-o", path, SOURCES / "get_wolfssl.c", "-lwolfssl")
    return visit.run(built, NAME, visit.gate.port, visit.ca, *visit.pair)


def _built(visit: Visit, name: str, *command: object) -> pathlib.Path:
    """A program made from its source, unless it was before."""
    built = visit.gate.folder / name
    if not built.exists():
        subprocess.run(
            [str(part) for part in command],
            env={**os.environ, "PATH": PATH, "GOCACHE": str(visit.gate.folder / "go"), "GO111MODULE": "off"},
            stdin=subprocess.DEVNULL,
            check=True,
        )
    return built


def _gnutls(visit: Visit) -> Said:
    pem = ("--x509certfile", visit.pair[0], "--x509keyfile", visit.pair[1]) if visit.pair else ()
    asked = ("gnutls-cli", "--x509cafile", visit.ca, *pem, "--port", visit.gate.port, NAME)
    return visit.run(*asked, typed=_REQUEST)


def _openssl(visit: Visit) -> Said:
    pem = ("-cert", visit.pair[0], "-key", visit.pair[1]) if visit.pair else ()
    asked = ("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", visit.ca, "-servername", NAME, *pem)
    return visit.run(*asked, "-connect", f"{NAME}:{visit.gate.port}", typed=_REQUEST)


def _nss(visit: Visit) -> Said:
    browser = Browser(visit.home, visit.ca)
    own: tuple[str, ...] = ()
    if visit.p12:
        imported = _imported(visit, browser)
        if imported.status:
            return imported
        # The certificate with a key has the trust `u`.
        listed = visit.run("certutil", "-d", browser.store, "-L").text
        own = ("-n", re.search(r"^(.*?)\s+u,u,u\s*$", listed, re.MULTILINE)[1])
    request = visit.home / "request"
    request.write_text(_REQUEST)
    return visit.run("tstclnt", "-h", NAME, "-p", visit.gate.port, "-d", browser.store, "-A", request, *own)


def _imported(visit: Visit, browser: Browser) -> Said:
    return visit.run("pk12util", "-d", browser.store, "-i", visit.p12, "-W", PASSWORD)


def _chromium(visit: Visit) -> Said:
    def see(browser: Browser) -> str:
        with selection() as select:
            select(f"https://{NAME}:{visit.gate.port}")
            return browser.see(visit.gate.url)

    return _seen(visit, see)


def _chromium_second(visit: Visit) -> Said:
    """The first site's page shows a picture of the second."""

    def see(browser: Browser) -> str:
        with selection() as select:
            select(f"https://{SITES}:{visit.gate.port}")
            return browser.see(visit.gate.first)

    return _seen(visit, see)


def _firefox(visit: Visit) -> Said:
    return _seen(visit, lambda browser: firefox.see(browser, visit.gate.url))


def _firefox_second(visit: Visit) -> Said:
    return _seen(visit, lambda browser: firefox.see(browser, visit.gate.first))


def _seen(visit: Visit, see: Callable[[Browser], str]) -> Said:
    """What a browser shows, as text, once it has the certificate."""
    browser = Browser(visit.home, visit.ca)
    if visit.p12:
        imported = _imported(visit, browser)
        if imported.status:
            return imported
    try:
        page = see(browser)
    except (OSError, subprocess.SubprocessError):
        # It waits for a person, or the machine is very busy: whether it has asked, the log says.
        return Said(None, "")
    return visit.said(None, re.sub(r"(?s)<style.*?</style>|<[^>]*>", " ", page).encode())


def _git(visit: Visit) -> Said:
    pem = ("-c", f"http.sslCert={visit.pair[0]}", "-c", f"http.sslKey={visit.pair[1]}") if visit.pair else ()
    return visit.run(
        *("git", "-c", f"http.sslCAInfo={visit.ca}", *pem, "ls-remote", visit.gate.url), GIT_TERMINAL_PROMPT="0"
    )


def _rclone(visit: Visit) -> Said:
    pem = ("--client-cert", visit.pair[0], "--client-key", visit.pair[1]) if visit.pair else ()
    quick = ("--retries", "1", "--low-level-retries", "1", "--ca-cert", visit.ca)
    return visit.run("rclone", "lsf", ":http:", "--http-url", f"{visit.gate.url}/", *quick, *pem)


def _lftp(visit: Visit) -> Said:
    settings = {"ssl:ca-file": visit.ca, "net:max-retries": 1}
    if visit.pair:
        settings |= {"ssl:cert-file": visit.pair[0], "ssl:key-file": visit.pair[1]}
    text = "".join(f"set {name} {value}; " for name, value in settings.items())
    return visit.run("lftp", "-c", f"{text}cat {visit.gate.url}")


def _pip(visit: Visit) -> Said:
    pem = ("--client-cert", visit.both[0]) if visit.both else ()
    asked = ("download", "--no-deps", "--retries", "0", "--cert", visit.ca, *pem, "--index-url", visit.gate.url)
    return visit.run(sys.executable, "-m", "pip", *asked, "something", PIP_CONFIG_FILE="/dev/null")


def _npm(visit: Visit) -> Said:
    visit.home.mkdir()
    registry = f"//{NAME}:{visit.gate.port}/inside/"
    lines = [f"registry=https:{registry}", f"cafile={visit.ca}", "fetch-retries=0"]
    if visit.pair:
        lines += [f"{registry}:certfile={visit.pair[0]}", f"{registry}:keyfile={visit.pair[1]}"]
    (visit.home / ".npmrc").write_text("\n".join(lines) + "\n")
    return visit.run("npm", "view", "something")


def _mqtt(visit: Visit) -> Said:
    """With a broker behind the gate whose listeners are those of docs/services.md, with other ports."""
    visit.home.mkdir()
    settings = visit.home / "mosquitto.conf"
    (text,) = re.findall(r"^```text\n(listener 1883 .*?)^```$", _SERVICES.read_text(), re.MULTILINE | re.DOTALL)
    ports = {"1883": free_port(), "9001": visit.gate.broker_port}
    settings.write_text(re.sub("1883|9001", lambda found: str(ports[found[0]]), text))
    asked = ("websockets", NAME, visit.gate.mqtt_port, visit.ca, *visit.pair)
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ended(subprocess.Popen([program("mosquitto"), "-c", settings], **silent)) as broker:
        if not listens(broker, visit.gate.broker_port):
            raise RuntimeError("mosquitto does not start")
        return visit.run(sys.executable, SOURCES / "get_mqtt.py", *asked)


def _mosquitto_pub(visit: Visit) -> Said:
    pem = ("--cert", visit.pair[0], "--key", visit.pair[1]) if visit.pair else ()
    whom = ("--host", NAME, "--port", visit.gate.port, "--cafile", visit.ca)
    return visit.run("mosquitto_pub", *whom, *pem, "--topic", "inside", "--message", "a message")


def _psql(visit: Visit) -> Said:
    pem = f"sslcert={visit.pair[0]} sslkey={visit.pair[1]}" if visit.pair else ""
    where = f"host={NAME} port={visit.gate.port} user=postgres sslmode=verify-full sslrootcert={visit.ca} {pem}"
    return visit.run("psql", "--no-password", "--command", "SELECT 1", where)


CURL = Program(
    "curl (OpenSSL)",
    said_by("curl", "--version", pattern=r"curl (\S+).* (OpenSSL/\S+)"),
    _curl,
    p12=True,
    second=_curl_second,
)
PYTHON = Program(
    "Python `ssl`",
    _python("ssl, sys", "sys.version.split()[0], *ssl.OPENSSL_VERSION.split()[:2]"),
    _like_ssl("ssl"),
    library=True,
)
OPENSSL = Program("openssl s_client", said_by("openssl", "version"), _openssl)
NSS = Program(
    "tstclnt (NSS)", said_by("dpkg-query", "--show", "libnss3-tools", needs=["tstclnt"]), _nss, p12=True, pem=False
)

PROGRAMS = [
    CURL,
    Program(
        "pycurl (libcurl with GnuTLS)",
        said_by(*(_DEBIAN_PYTHON, "-c", "import pycurl; print(pycurl.version)"), pattern=r"libcurl/(\S+) (GnuTLS/\S+)"),
        _pycurl,
        p12=True,
        library=True,
    ),
    Program("curl-cffi (BoringSSL)", _package("curl-cffi"), _requests("curl_cffi"), library=True),
    Program("wget (GnuTLS)", said_by("wget", "--version"), _wget("wget")),
    Program("wget2 (GnuTLS)", said_by("wget2", "--version"), _wget("wget2")),
    PYTHON,
    Program("requests", _package("requests"), _requests("requests"), library=True),
    Program("httpx (HTTP/2)", _package("httpx"), _httpx(), library=True, second=_httpx(SECOND)),
    Program("httpie", _package("httpie"), _httpie),
    Program("rtls (rustls)", _package("rtls"), _like_ssl("rtls"), library=True),
    Program("utls (BoringSSL)", _package("utls"), _like_ssl("utls"), library=True),
    Program("awscrt (s2n-tls)", _package("awscrt"), _awscrt, library=True),
    Program("Node `https`", said_by("node", "--version", pattern=r"v(\S+)"), _node, p12=True, library=True),
    Program(
        "Node `http2`",
        said_by("node", "--version", pattern=r"v(\S+)"),
        _node_http2(),
        library=True,
        second=_node_http2(SECOND),
    ),
    Program(
        "Go `Certificates`",
        said_by("go", "version"),
        _go("Certificates"),
        library=True,
        second=_go("Certificates", SECOND),
    ),
    Program("Go `GetClientCertificate`", said_by("go", "version"), _go("GetClientCertificate"), library=True),
    Program(
        "Java `HttpClient`", said_by("javac", "-version", needs=["java"]), _java, p12=True, pem=False, library=True
    ),
    Program(
        "wolfSSL",
        said_by(*("dpkg-query", "--show", "libwolfssl-dev"), needs=["gcc"]),
        _wolfssl,
        library=True,
    ),
    Program("gnutls-cli", said_by("gnutls-cli", "--version"), _gnutls),
    OPENSSL,
    NSS,
    Program(
        "Chromium",
        said_by("chromium", "--version", needs=["certutil"]),
        _chromium,
        p12=True,
        pem=False,
        library=True,
        second=_chromium_second,
    ),
    Program(
        "Firefox `Select Automatically`",
        said_by("firefox-esr", "--version", needs=["certutil"]),
        _firefox,
        p12=True,
        pem=False,
        library=True,
        second=_firefox_second,
    ),
    Program("git", said_by("git", "--version"), _git),
    Program("rclone", said_by("rclone", "version"), _rclone),
    Program("lftp", said_by("lftp", "--version"), _lftp),
    Program("pip", said_by(sys.executable, "-m", "pip", "--version"), _pip),
    Program("npm", said_by("npm", "--version"), _npm),
    Program(
        "paho-mqtt over websockets",
        _package("paho-mqtt", needs=["mosquitto"]),
        _mqtt,
        library=True,
    ),
    Program(
        "mosquitto_pub",
        said_by("mosquitto_pub", "--help", pattern=r"version (\S+)"),
        _mosquitto_pub,
        instead="[MQTT over websockets](services.md#mqtt), with a program that can, such as paho-mqtt",
    ),
    Program(
        "psql",
        said_by("psql", "--version"),
        _psql,
        instead="none here. PostgreSQL can ask for certificates itself: `ssl_ca_file`, `ssl_crl_file` (not tried)",
    ),
]
