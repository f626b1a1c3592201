# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other gates beside ours, like for like: one worker on one core, the same keys, upstream and names, a CRL where there
can be one; all log who came, and tell the upstream. Counted is the processor time of the whole gate."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import functools
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from measure import Bench, BenchError, Goal, Measured, Row, Skipped

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.tests.clients.processes import PATH, end
from ansible_collections.mtls.nginx.tests.gate import nginxes, pki
from ansible_collections.mtls.nginx.tests.gate.host import Host
from ansible_collections.mtls.nginx.tests.ports import free_port

GROUP = "peers-gate"
NAME = "nas.test"
NAMES = 1000
AT_ONCE = 8
_SECONDS = 30

# Says whom the gate has let in; Traefik has a header of its own for that.
_UPSTREAM = """
server {
    listen 127.0.0.1:@PORT@;
    keepalive_requests 1000000;
    return 200 "$http_x_ssl_client_dn$http_x_forwarded_tls_client_cert_info @BODY@";
}
"""


@dataclass(frozen=True)
class Ground:
    """What all gates have in common. In `folder`: ca.crt, crl.pem, server.crt, server.key, and both in server.pem."""

    folder: pathlib.Path
    authority: pki.Authority
    names: Sequence[str]
    upstream: Host
    server: pki.Identity
    member: pki.Identity
    revoked: pki.Identity
    stranger: pki.Identity

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.upstream.port}"


@dataclass(frozen=True)
class Peer:
    """Another gate: `write` puts its files into a folder, and returns the command that runs it there.

    `lets_in` are those whom it lets in because it has no setting against them: `revoked`, `stranger`.
    """

    name: str
    title: str
    program: str
    write: Callable[[Ground, pathlib.Path, int], Sequence[object]]
    lets_in: frozenset[str] = frozenset()
    kept_at_most: float = 1

    @property
    def described(self) -> str:
        """Its name, and whom it lets in, which each measurement proves."""
        return f"{self.title}, lets in: {', '.join(sorted(self.lets_in))}" if self.lets_in else self.title


class OtherGate:
    """A peer's process, and its port."""

    def __init__(self, peer: Peer, ground: Ground, folder: pathlib.Path) -> None:
        self.title = peer.title
        self.port = free_port()
        self._folder = folder
        folder.mkdir()
        self._command = list(map(str, peer.write(ground, folder, self.port)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={"HOME": str(self._folder), "PATH": PATH, "OPENSSL_CONF": "/dev/null"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        return (self._folder / "said").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)


class OurGate(Host):
    """nginx with our configuration."""

    title = "ours"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        return self._said()


Gate = OtherGate | OurGate
Work = Callable[[Gate, "Caller", int], float]


@dataclass(frozen=True)
class Kinds:
    """The keys of the authority and of clients; the server's is P-256, which is the collection's default."""

    authority: keys.KeyKind
    client: keys.KeyKind


DEFAULT = Kinds(keys.KeyKind("rsa", 4096), keys.KeyKind("rsa", 2048))
ECDSA = Kinds(pki.P256, pki.P256)


# --- the peers' configurations


def _fill(text: str, ground: Ground, port: int, **more: str) -> str:
    words = {
        "DATA": str(ground.folder),
        "PORT": str(port),
        "UPSTREAM": f"127.0.0.1:{ground.upstream.port}",
        "NAME": NAME,
        **more,
    }
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


# The list is a tree of strings to HAProxy. It logs to its standard output, which is a file. Sessions are kept as ours
# are; with the tickets that are its default, a connection costs it more.
_HAPROXY = """
global
    nbthread 1
    log stdout format raw local0 info
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    log global
    timeout client 60s
    timeout connect 5s
    timeout server 60s
    log-format '%ci [%tr] %{+Q}r %ST %B dn=%{+Q}[ssl_c_s_dn] serial=%[ssl_c_serial,hex]'
frontend gate
    bind 127.0.0.1:@PORT@ ssl crt @DATA@/server.pem @VERIFY@ no-tls-tickets
    http-request deny unless { ssl_c_s_dn -m str -f allowed }
    http-request set-header X-SSL-Client-DN %[ssl_c_s_dn]
    default_backend nas
backend nas
    server nas @UPSTREAM@
"""


def _haproxy(ground: Ground, folder: pathlib.Path, port: int) -> Sequence[object]:
    (folder / "allowed").write_text("".join(f"/CN={name}\n" for name in ground.names))
    verify = "verify required ca-file @DATA@/ca.crt crl-file @DATA@/crl.pem"
    (folder / "haproxy.cfg").write_text(_fill(_HAPROXY.replace("@VERIFY@", verify), ground, port))
    return ["haproxy", "-db", "-f", folder / "haproxy.cfg"]


# A single process, as many threads as it needs for AT_ONCE connections. Its user must be able to read the map, which is
# the only list it has that is not searched name by name.
_APACHE = """
ServerName @NAME@
ServerRoot @HOME@
DefaultRuntimeDir @HOME@
PidFile @HOME@/pid
ErrorLog @HOME@/error.log
User nobody
Group nogroup
@MODULES@
Listen 127.0.0.1:@PORT@
StartServers 1
ServerLimit 1
ThreadsPerChild 16
ThreadLimit 16
MaxRequestWorkers 16
MinSpareThreads 1
MaxSpareThreads 16
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
LogFormat "%h %l %u %t \\"%r\\" %>s %O dn=\\"%{SSL_CLIENT_S_DN}x\\" serial=%{SSL_CLIENT_M_SERIAL}x" gate
CustomLog @HOME@/access.log gate
SSLEngine on
SSLProtocol TLSv1.3
SSLCertificateFile @DATA@/server.crt
SSLCertificateKeyFile @DATA@/server.key
SSLCACertificateFile @DATA@/ca.crt
SSLCARevocationFile @DATA@/crl.pem
SSLCARevocationCheck chain
SSLVerifyClient require
SSLVerifyDepth 1
RewriteEngine on
RewriteMap allowed txt:@LIST@
RewriteCond ${allowed:%{SSL:SSL_CLIENT_S_DN}|no} =no
RewriteRule ^ - [F]
RequestHeader set X-SSL-Client-DN "%{SSL_CLIENT_S_DN}s"
ProxyPass / http://@UPSTREAM@/
<Location />
    Require all granted
</Location>
"""
_APACHE_MODULES = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "headers", "rewrite", "proxy", "proxy_http")


def _apache(ground: Ground, folder: pathlib.Path, port: int) -> Sequence[object]:
    public = pathlib.Path(tempfile.mkdtemp(prefix="mtls-bench-"))
    atexit.register(shutil.rmtree, public)
    public.chmod(0o755)
    (public / "allowed").write_text("".join(f"CN={name} yes\n" for name in ground.names))
    modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _APACHE_MODULES)
    text = _fill(_APACHE, ground, port, HOME=str(folder), LIST=str(public / "allowed"), MODULES=modules)
    (folder / "apache.conf").write_text(text)
    return ["apache2", "-D", "FOREGROUND", "-f", folder / "apache.conf"]


_CADDY = """
{
    admin off
    auto_https off
    servers {
        protocols h1 h2
    }
}
https://@NAME@:@PORT@ {
    bind 127.0.0.1
    tls @DATA@/server.crt @DATA@/server.key {
        protocols tls1.3
        client_auth {
            mode require_and_verify
            trust_pool file @DATA@/ca.crt
        }
    }
    log {
        output file @HOME@/access.log
    }
    @allowed @MATCHER@
    handle @allowed {
        reverse_proxy @UPSTREAM@ {
            header_up X-SSL-Client-DN {http.request.tls.client.subject}
        }
    }
    respond 403
}
"""


def _caddy(ground: Ground, folder: pathlib.Path, port: int) -> Sequence[object]:
    matcher = "vars {http.request.tls.client.subject} " + " ".join(f"CN={name}" for name in ground.names)
    text = _fill(_CADDY, ground, port, HOME=str(folder), MATCHER=matcher)
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--config", folder / "Caddyfile"]


def _traefik(ground: Ground, folder: pathlib.Path, port: int) -> Sequence[object]:
    (folder / "gate.yml").write_text(
        json.dumps(
            {
                "http": {
                    "routers": {
                        "nas": {
                            "rule": f"Host(`{NAME}`)",
                            "service": "nas",
                            "middlewares": ["who"],
                            "tls": {},
                        }
                    },
                    "middlewares": {"who": {"passTLSClientCert": {"info": {"subject": {"commonName": True}}}}},
                    "services": {"nas": {"loadBalancer": {"servers": [{"url": ground.url}]}}},
                },
                "tls": {
                    "certificates": [
                        {"certFile": str(ground.folder / "server.crt"), "keyFile": str(ground.folder / "server.key")}
                    ],
                    "options": {
                        "default": {
                            "minVersion": "VersionTLS13",
                            "clientAuth": {
                                "caFiles": [str(ground.folder / "ca.crt")],
                                "clientAuthType": "RequireAndVerifyClientCert",
                            },
                        }
                    },
                },
            }
        )
    )
    return [
        *(
            "traefik",
            f"--entryPoints.gate.address=127.0.0.1:{port}",
            f"--providers.file.filename={folder / 'gate.yml'}",
        ),
        # Only this format names the client.
        *("--accesslog=true", f"--accesslog.filepath={folder / 'access.log'}", "--accesslog.format=json"),
        *("--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"),
    ]


def _envoy(ground: Ground, folder: pathlib.Path, port: int) -> Sequence[object]:
    def of_type(type_name: str, /, **values: object) -> dict[str, object]:
        return {"@type": f"type.googleapis.com/envoy.{type_name}", **values}

    def action(what: str) -> dict[str, object]:
        return {"action": {"name": what, "typed_config": of_type("config.rbac.v3.Action", name=what, action=what)}}

    def file(name: str) -> dict[str, str]:
        return {"filename": str(ground.folder / name)}

    allowed = of_type(
        "extensions.filters.http.rbac.v3.RBAC",
        matcher={
            "matcher_tree": {
                "input": {
                    "name": "subject",
                    "typed_config": of_type("extensions.matching.common_inputs.ssl.v3.SubjectInput"),
                },
                "exact_match_map": {"map": {f"CN={name}": action("ALLOW") for name in ground.names}},
            },
            "on_no_match": action("DENY"),
        },
    )
    log = of_type(
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=str(folder / "access.log"),
        log_format={
            "text_format_source": {
                "inline_string": '%DOWNSTREAM_REMOTE_ADDRESS% [%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%"'
                ' %RESPONSE_CODE% %BYTES_SENT% dn="%DOWNSTREAM_PEER_SUBJECT%" serial=%DOWNSTREAM_PEER_SERIAL%\n'
            }
        },
    )
    subject = {"header": {"key": "x-ssl-client-dn", "value": "%DOWNSTREAM_PEER_SUBJECT%"}}
    manager = of_type(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gate",
        access_log=[{"name": "file", "typed_config": log}],
        http_filters=[
            {"name": "allowed", "typed_config": allowed},
            {"name": "router", "typed_config": of_type("extensions.filters.http.router.v3.Router")},
        ],
        route_config={
            "request_headers_to_add": [{**subject, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
            "virtual_hosts": [
                {"name": "nas", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "nas"}}]}
            ],
        },
    )
    tls = of_type(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": file("server.crt"), "private_key": file("server.key")}],
            "validation_context": {"trusted_ca": file("ca.crt"), "crl": file("crl.pem")},
        },
    )

    def address(at: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": at}}

    endpoint = {"endpoint": {"address": address(ground.upstream.port)}}
    (folder / "envoy.json").write_text(
        json.dumps(
            {
                "static_resources": {
                    "listeners": [
                        {
                            "address": address(port),
                            "filter_chains": [
                                {
                                    "transport_socket": {"name": "tls", "typed_config": tls},
                                    "filters": [{"name": "http", "typed_config": manager}],
                                }
                            ],
                        }
                    ],
                    "clusters": [
                        {
                            "name": "nas",
                            "type": "STATIC",
                            "load_assignment": {"cluster_name": "nas", "endpoints": [{"lb_endpoints": [endpoint]}]},
                        }
                    ],
                }
            }
        )
    )
    return [
        *("envoy", "-c", folder / "envoy.json", "--disable-hot-restart", "--concurrency", 1, "--log-level", "warning")
    ]


PEERS = [
    Peer("haproxy", "HAProxy", "haproxy", _haproxy, kept_at_most=1.25),
    Peer("apache", "Apache", "apache2", _apache),
    Peer("caddy", "Caddy", "caddy", _caddy, frozenset({"revoked"})),
    Peer("traefik", "Traefik", "traefik", _traefik, frozenset({"revoked", "stranger"})),
    Peer("envoy", "Envoy", "envoy", _envoy),
]


# --- what they are asked


class Caller:
    """A client with one certificate, that makes a full handshake for each connection."""

    def __init__(self, identity: pki.Identity) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(identity.path)

    def connect(self, port: int) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(raw, server_hostname=NAME)

    def once(self, port: int) -> bytes:
        """The whole answer to a request on a connection of its own; empty if the handshake was refused."""
        answer = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError), self.connect(port) as connection:
            connection.sendall(_request(port, "close"))
            while received := connection.recv(65536):
                answer += received
        return answer


def _request(port: int, connection: str) -> bytes:
    return (
        f"GET /page HTTP/1.1\r\nHost: {NAME}:{port}\r\nUser-Agent: bench\r\nConnection: {connection}\r\n\r\n".encode()
    )


def _ok(answer: bytes, gate: Gate) -> None:
    if b" 200 " not in answer[:20]:
        raise BenchError(f"{gate.title}: {answer[:200]!r} {gate.said()}")


def new_connections(gate: Gate, caller: Caller, count: int) -> float:
    """Seconds of processor time for so many connections, several at a time, with a request each."""
    start = processor_seconds(gate.pid)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for answer in pool.map(caller.once, [gate.port] * count):
            _ok(answer, gate)
    return processor_seconds(gate.pid) - start


def kept_alive(gate: Gate, caller: Caller, count: int) -> float:
    """Seconds of processor time for so many requests: one on each open connection, then all the answers, and again."""
    request = _request(gate.port, "keep-alive")
    with contextlib.ExitStack() as stack:
        open_now = [stack.enter_context(caller.connect(gate.port)) for _one in range(AT_ONCE)]

        def ask() -> None:
            for connection in open_now:
                connection.sendall(request)
            for connection in open_now:
                _ok(_answer(connection), gate)

        ask()
        start = processor_seconds(gate.pid)
        for _turn in range(count // AT_ONCE):
            ask()
        return processor_seconds(gate.pid) - start


def _answer(connection: ssl.SSLSocket) -> bytes:
    """One answer, whose head says how long it is."""
    answer = b""
    end = None
    while end is None or len(answer) < end:
        received = connection.recv(65536)
        if not received:
            break
        answer += received
        head, blank, _body = answer.partition(b"\r\n\r\n")
        if end is None and blank:
            _before, _colon, length = head.lower().partition(b"\r\ncontent-length:")
            end = len(head) + len(blank) + int(length.partition(b"\r\n")[0])
    return answer


# --- counting


def processor_seconds(pid: int) -> float:
    """The processor time of a process and its descendants, ended threads included (clock_getcpuclockid(3))."""
    own = time.clock_gettime((~pid << 3) | 2)
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return own + sum(
        processor_seconds(int(child)) for task in tasks for child in (task / "children").read_text().split()
    )


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """What is started meanwhile stays on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _running(*servers: Gate | Host) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()


def _prepare(folder: pathlib.Path, kinds: Kinds) -> Ground:
    authority = pki.Authority(folder / "pki", "Bench CA", kinds.authority)
    names = [f"client-{number:04}" for number in range(NAMES)]
    authority.on_paper(names[2:])
    authority.issue({name: {"CN": name} for name in (*names[:2], "stranger")}, kind=kinds.client)
    member, revoked, stranger = (authority.client(name) for name in (*names[:2], "stranger"))
    authority.revoke(revoked)
    upstream = Host(nginxes.build(nginxes.INSTALLED), folder / "upstream", BODY="x" * 1000)
    upstream.by_hand(_UPSTREAM, http="")
    server = authority.server(NAME)
    ground = Ground(folder / "data", authority, names, upstream, server, member, revoked, stranger)
    ground.folder.mkdir()
    credential = pki.credential(server)
    for name, text in {
        "ca.crt": authority.chain,
        "crl.pem": authority.crl,
        "server.crt": credential.certificate,
        "server.key": credential.key,
        "server.pem": credential.certificate + credential.key,
    }.items():
        (ground.folder / name).write_text(text)
    return ground


def _ours(ground: Ground, folder: pathlib.Path, *, upstream: str = "http://bench_nas") -> OurGate:
    """Ours, with an upstream block that keeps connections open, as each peer does by default."""
    gate = OurGate(nginxes.build(nginxes.INSTALLED), folder)
    gate.serve_as(ground.server)
    service = {"name": "nas", "server_names": [NAME], "allow": ground.names, "upstream": upstream}
    block = f"upstream bench_nas {{ server 127.0.0.1:{ground.upstream.port}; keepalive 16; }}"
    gate.ours([service], ground.authority, neighbours={"bench": block})
    return gate


def _check(gate: Gate, ground: Ground, lets_in: frozenset[str]) -> None:
    """Raise BenchError unless the gate lets in, and names to the upstream, whom we say it does."""
    deadline = time.monotonic() + _SECONDS
    answer = b""
    # Traefik listens before it has read its file, and answers before all of that is in force.
    while ground.names[0].encode() not in answer:
        if time.monotonic() > deadline:
            raise BenchError(f"{gate.title} does not tell the upstream who it is: {answer[:500]!r} {gate.said()}")
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            answer = Caller(ground.member).once(gate.port)
    _ok(answer, gate)
    asked = {"revoked": ground.revoked, "stranger": ground.stranger}
    seen = {who for who, identity in asked.items() if b" 200 " in Caller(identity).once(gate.port)[:20]}
    if seen != lets_in:
        raise BenchError(f"{gate.title} lets in {sorted(seen)}, where {sorted(lets_in)} was expected")


def against_peer(bench: Bench, count: int, *, peer: Peer, kinds: Kinds, work: Work) -> Measured:
    if not shutil.which(peer.program, path=PATH):
        raise Skipped(f"{peer.program} is not installed")
    ground = _prepare(bench.folder, kinds)
    return _measure(bench, count, ground, OtherGate(peer, ground, bench.folder / peer.name), peer.lets_in, work)


def against_ourselves(bench: Bench, count: int) -> Measured:
    """What keeping connections to the upstream open is worth."""
    ground = _prepare(bench.folder, ECDSA)
    return _measure(
        bench, count, ground, _ours(ground, bench.folder / "url", upstream=ground.url), frozenset(), kept_alive
    )


def _measure(bench: Bench, count: int, ground: Ground, other: Gate, lets_in: frozenset[str], work: Work) -> Measured:
    """Microseconds of processor time for one piece of work: the whole gate, all its processes and threads."""
    sides = [_ours(ground, bench.folder / "ours"), other]
    measured = Measured(unit="µs")
    caller = Caller(ground.member)
    cores = sorted(os.sched_getaffinity(0))
    with _on_core(cores[-1]), _running(ground.upstream), contextlib.ExitStack() as stack:
        for gate, expected in zip(sides, (frozenset[str](), lets_in), strict=True):
            with _on_core(cores[0]):
                stack.enter_context(_running(gate))
            _check(gate, ground, expected)
            work(gate, caller, max(AT_ONCE, count // 10))
        for _run, ours_first in bench.turns():
            pairs = list(zip((measured.ours, measured.peer), sides, strict=True))
            for values, gate in pairs if ours_first else reversed(pairs):
                values.append(work(gate, caller, count) / count * 1e6)
    return measured


def _rows(peer: Peer) -> list[Row]:
    def row(name: str, what: str, n: int, kinds: Kinds, work: Work, goal: float) -> Row:
        take = functools.partial(against_peer, peer=peer, kinds=kinds, work=work)
        return Row(f"gate-{peer.name}{name}", what, peer.described, n, AT_ONCE, take, Goal(goal))

    return [
        row("", "processor time of a new connection, by {n}; default keys", 600, DEFAULT, new_connections, 1),
        row("-ecdsa", "the same, all keys P-256", 600, ECDSA, new_connections, 1),
        row("-kept", "that of a request, by {n} on open connections", 4000, ECDSA, kept_alive, peer.kept_at_most),
    ]


ROWS = [
    *(row for peer in PEERS for row in _rows(peer)),
    Row(
        "gate-upstream-kept",
        "that of a request, by {n} on open connections, with an upstream block that keeps its own open",
        "the same with a URL as the upstream",
        4000,
        AT_ONCE,
        against_ourselves,
    ),
]
