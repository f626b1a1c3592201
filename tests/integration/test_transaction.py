# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's change as one transaction, with a real nginx: what it does, and what is left when a step fails."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    comparison,
    nginx_process,
    ports,
    resolver,
    shutdown,
    survey,
    swap,
    transaction,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx, Verdict
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    GateProbe,
    Textfile,
    WantedFile,
)
from ansible_collections.mtls.nginx.plugins.modules import nginx_facts, nginx_glance
from ansible_collections.mtls.nginx.tests.ports import free_port

from .host import BINARY, MARKER, Host, forked, self_signed

pytestmark = pytest.mark.skipif(BINARY is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return self_signed("a.test")


@pytest.fixture
def host(tmp_path, pair):
    made = Host(tmp_path, pair)
    yield made
    made.nginx.stop()


@pytest.fixture
def serving(host):
    """A host that answers 201."""
    host.serve(201)
    return host


# What it does


def test_first_run_creates_everything_and_starts_nginx(host):
    outcome = host.serve(201)
    assert (outcome.changed, outcome.started, outcome.reloaded, outcome.accepted) == (True, True, False, True)
    assert {change.kind for change in outcome.changes} == {"created"}
    assert host.status() == "201"
    assert os.stat(host.path("server-certs/a.key")).st_mode & 0o7777 == 0o600
    assert os.stat(host.path("client-certs")).st_mode & 0o7777 == 0o755
    assert not [name for name in host.tree() if "/." in f"/{name}"]


def test_second_run_changes_nothing_and_asks_no_program(serving, monkeypatch):
    before = serving.tree(), serving.workers()
    monkeypatch.setattr(nginx_process, "run", lambda command: pytest.fail(f"{command} was run"))
    outcome = serving.serve(201)
    assert (outcome.changed, outcome.reloaded, outcome.started, outcome.changes) == (False, False, False, [])
    assert (serving.tree(), serving.workers()) == before


def test_change_is_served_by_new_workers_of_the_same_master(serving):
    master, workers = serving.nginx.master(), serving.workers()
    outcome = serving.serve(202)
    assert outcome.reloaded
    assert [change.kind for change in outcome.changes] == ["changed"]
    assert serving.status() == "202"
    assert serving.nginx.master() == master
    assert not workers & serving.workers()


def test_only_a_mode_differs(serving):
    os.chmod(serving.path("server-certs/a.key"), 0o644)
    assert [change.path for change in serving.serve(201).changes] == [serving.path("server-certs/a.key")]
    assert os.stat(serving.path("server-certs/a.key")).st_mode & 0o7777 == 0o600


def test_absent_files_are_removed(serving):
    outcome = serving.apply(absent=[serving.path("conf.d/mtls-a.conf"), serving.path("conf.d/mtls-never.conf")])
    assert [change.kind for change in outcome.changes] == ["removed"]
    assert not os.path.exists(serving.path("conf.d/mtls-a.conf"))
    assert serving.status() != "201"


def test_stopped_nginx_is_started_though_no_file_differs(serving):
    serving.nginx.stop()
    outcome = serving.serve(201)
    assert (outcome.changed, outcome.started, outcome.changes) == (True, True, [])
    assert serving.status() == "201"


def test_reload_on_request(serving):
    workers = serving.workers()
    outcome = serving.serve(201, reload=True)
    assert (outcome.changed, outcome.reloaded) == (True, True)
    assert not workers & serving.workers()


def test_check_mode_asks_nginx_and_writes_nothing(host):
    before = sorted(host.root.rglob("*"))
    outcome = host.serve(201, check=True)
    assert (outcome.changed, outcome.started, outcome.accepted) == (True, True, True)
    assert sorted(host.root.rglob("*")) == before
    assert host.nginx.master() is None


def test_check_mode_says_that_nginx_would_reject(serving):
    before = serving.tree()
    with pytest.raises(MtlsError, match=r'unknown directive "nonsense" in .*/etc/nginx/conf.d/mtls-a.conf:9'):
        serving.apply(*serving.wanted(201, "nonsense;"), check=True)
    assert serving.tree() == before


def test_no_private_key_is_written_while_nginx_is_asked(host, monkeypatch):
    seen = []
    ask = Nginx.test

    def look(nginx, conf_path=None, extra=None):
        if conf_path:
            folder = pathlib.Path(conf_path).parents[1]
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            seen.append([path for path in files if b"PRIVATE KEY" in path.read_bytes()])
        return ask(nginx, conf_path, extra)

    monkeypatch.setattr(Nginx, "test", look)
    host.serve(201)
    assert seen == [[]]


def test_two_runs_at_once_both_complete(serving):
    statuses = [202, 203]
    runs = [forked(lambda status=status: serving.serve(status)) for status in statuses]
    assert [os.waitpid(pid, 0)[1] for pid in runs] == [0, 0]
    assert serving.status() in {str(status) for status in statuses}
    assert serving.accepts()
    assert not os.path.exists(serving.path(swap.JOURNAL))


# Connections that outlive a reload


def test_bound_in_a_line_of_nginx_conf(serving):
    before = serving.main.read_bytes()
    os.chown(serving.main, 1, 2)
    serving.main.chmod(0o640)
    plan = serving.serve(201, shutdown_timeout=7, check=True)
    assert plan.changed
    (shown,) = transaction.diff(plan.changes)
    assert shown["after"].startswith("worker_shutdown_timeout 7s;")
    assert shown["after"].endswith(shown["before"])
    assert serving.main.read_bytes() == before

    outcome = serving.serve(201, shutdown_timeout=7)
    assert [(change.path, change.kind) for change in outcome.changes] == [(str(serving.main), "changed")]
    assert serving.main.read_bytes() == b"worker_shutdown_timeout 7s;  # Managed by mtls.nginx\n" + before
    status = serving.main.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1, 2)

    assert not serving.serve(201, shutdown_timeout=7).changed
    assert not serving.serve(201).changed
    assert serving.serve(201, shutdown_timeout=8).reloaded
    assert serving.serve(201, shutdown_timeout=0).reloaded
    assert serving.main.read_bytes() == before


def test_bound_in_a_folder_of_the_main_context(serving):
    serving.main.write_text(f"include modules-enabled/*.conf;\n{serving.main.read_text()}")
    ours = serving.path("modules-enabled/mtls-shutdown.conf")
    outcome = serving.serve(201, shutdown_timeout=7)
    assert [(change.path, change.kind) for change in outcome.changes] == [(ours, "created")]
    assert not serving.serve(201, shutdown_timeout=7).changed
    assert [change.kind for change in serving.serve(201, shutdown_timeout=0).changes] == ["removed"]
    assert not os.path.exists(ours)


def test_bound_of_the_hosts_own(serving):
    """The host sets one when ours is there already: nginx would reject the two, and ours makes way."""
    serving.serve(201, shutdown_timeout=7)
    serving.main.write_text(f"{serving.main.read_text()}worker_shutdown_timeout 5m;\n")
    assert not serving.accepts()
    outcome = serving.serve(201, shutdown_timeout=7)
    assert outcome.own_bound == shutdown.OwnBound("5m", str(serving.main))
    assert serving.accepts()
    assert "mtls.nginx" not in serving.main.read_text()
    again = serving.serve(201, shutdown_timeout=7)
    assert (again.changed, again.own_bound) == (False, outcome.own_bound)
    assert nginx_facts.gather(str(BINARY), str(serving.main))["directives"]["worker_shutdown_timeout"] == "5m"


def test_facts_do_not_take_our_bound_for_the_hosts(serving):
    serving.serve(201, shutdown_timeout=7)
    assert nginx_facts.gather(str(BINARY), str(serving.main))["directives"]["worker_shutdown_timeout"] is None


# End dates for Prometheus


def test_end_dates_are_those_of_what_is_put_in_place(serving, tmp_path):
    folder = tmp_path / "textfiles"
    textfile = Textfile(
        str(folder / "mtls_nginx.prom"),
        [("", serving.path("client-certs/ca.crt"), serving.path("client-certs/crl.pem"))],
        [("a", serving.path("server-certs/a.crt")), ("later", serving.path("server-certs/later.crt"))],
    )
    serving.serve(201, textfile=textfile)
    end = int(x509.load_pem_x509_certificate(serving.certificate).not_valid_after_utc.timestamp())
    text = (folder / "mtls_nginx.prom").read_text()
    assert f"\nmtls_nginx_ca_not_after_timestamp_seconds {end}\n" in text
    assert f'\nmtls_nginx_server_certificate_not_after_timestamp_seconds{{service="a"}} {end}\n' in text
    assert "later" not in text
    assert (folder / "mtls_nginx.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in folder.iterdir()] == ["mtls_nginx.prom"]
    os.utime(folder / "mtls_nginx.prom", (0, 0))
    before = time.time()
    assert not serving.serve(201, textfile=textfile).changed
    assert (folder / "mtls_nginx.prom").stat().st_mtime >= before - 1

    new, key = self_signed("a.test", days=9)
    serving.certificate, serving.key = new, key
    with pytest.raises(MtlsError, match="the check of the gate failed"):
        serving.apply(
            *serving.wanted(202), textfile=textfile, gates=[GateProbe("127.0.0.1", serving.port, "a.test", 400)]
        )
    assert (folder / "mtls_nginx.prom").read_text() == text
    serving.serve(202, textfile=textfile)
    end = int(x509.load_pem_x509_certificate(new).not_valid_after_utc.timestamp())
    assert f"\nmtls_nginx_ca_not_after_timestamp_seconds {end}\n" in (folder / "mtls_nginx.prom").read_text()


# What others can put in the way


def test_what_has_the_metrics_name_is_replaced_unread(serving, tmp_path):
    folder, secret = tmp_path / "textfiles", tmp_path / "secret"
    folder.mkdir()
    path = folder / "mtls_nginx.prom"
    textfile = Textfile(str(path), [("", serving.path("client-certs/ca.crt"), "/nowhere")])
    serving.serve(201, textfile=textfile)
    text, workers = path.read_text(), serving.workers()
    secret.write_text("root only")
    for plant in (lambda: path.symlink_to(secret), lambda: os.mkfifo(path), lambda: path.symlink_to(path)):
        path.unlink()
        plant()
        assert not unchanged(serving, textfile=textfile)
        outcome = serving.serve(201, textfile=textfile)
        assert "root only" not in str(transaction.diff(outcome.changes))
        assert ([change.path for change in outcome.changes], outcome.warnings) == ([str(path)], [])
        assert not path.is_symlink()
        assert path.read_text() == text
        assert secret.read_text() == "root only"
    assert serving.workers() == workers  # they are nothing to nginx
    for name in (path, folder / ".mtls_nginx.prom.new"):
        path.unlink()
        name.mkdir()
        assert not unchanged(serving, textfile=textfile)
        outcome = serving.serve(202, textfile=textfile)
        assert [str(name) in text and "metrics were not written" in text for text in outcome.warnings] == [True]
        assert serving.status() == "202"
        name.rmdir()
        serving.serve(201, textfile=textfile)
    assert unchanged(serving, textfile=textfile)


def test_a_fifo_among_the_files_is_refused(serving):
    path = pathlib.Path(serving.path("client-certs/ca.crt"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MtlsError, match=r"ca\.crt: is not a regular file; move it away"):
        serving.serve(202)
    assert serving.status() == "201"


@pytest.fixture
def forger(serving):
    """Somebody whose requests write lines into nginx's main error log that look like nginx's own refusal."""
    port, over = free_port(), threading.Event()
    (serving.conf / "sites-enabled" / "open").write_text(f"server {{ listen 127.0.0.1:{port}; root /nowhere; }}\n")
    serving.apply(reload=True)
    forged = f"{time.strftime('%Y/%m/%d %H:%M:%S')} [emerg] {serving.nginx.master().pid}#0: forged"
    request = f"GET /x HTTP/1.0\r\nReferer: \f{forged}\f {forged}\r\n\r\n".encode()

    def forge():
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
                connection.recv(100)

    thread = threading.Thread(target=forge)
    thread.start()
    yield forged
    over.set()
    thread.join()


def test_forged_lines_in_the_log_undo_nothing(serving, forger):
    for status in (202, 203, 204):
        serving.serve(status)
        assert serving.status() == str(status)
    assert forger in (serving.root / "log" / "error.log").read_text()


@pytest.mark.parametrize("leads", ["to the log", "elsewhere"])
def test_an_error_log_that_is_a_link(serving, monkeypatch, leads):
    """What nginx itself has open is read, wherever the link leads."""
    monkeypatch.setattr(Nginx, "test", lambda *_args: Verdict(True, ()))
    monkeypatch.setattr(nginx_process, "RELOAD_TIMEOUT", 1.0)
    log = serving.root / "log" / "error.log"
    log.rename(log.with_suffix(".real"))
    log.symlink_to(log.with_suffix(".real" if leads == "to the log" else ".other"))
    junk = WantedFile(serving.path("client-certs/crl.pem"), b"junk\n")
    with pytest.raises(MtlsError, match=r"the reload failed: .*crl\.pem"):
        serving.apply(*serving.wanted(202, f"ssl_crl {junk.path};"), junk)
    assert serving.status() == "201"


# Other masters


@pytest.fixture
def upgrading(serving):
    """A host whose nginx is being upgraded: the old master and its workers answer beside the new one's."""
    old = serving.nginx.master()
    os.kill(old.pid, signal.SIGUSR2)
    deadline = time.monotonic() + 10
    while serving.nginx._find_master() in (None, old) or len(serving.workers()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    serving.nginx = Nginx(serving.nginx.binary, serving.nginx.conf_path)
    yield old
    with contextlib.suppress(ProcessLookupError):
        os.kill(old.pid, signal.SIGQUIT)


def statuses(host: Host) -> set[str]:
    return {host.status() for _time in range(60)}


def test_a_binary_upgrade_under_way(serving, upgrading, monkeypatch):
    monkeypatch.setattr(transaction, "_UPGRADE_TIMEOUT", 0.2)
    assert serving.nginx.master().parent == upgrading.pid
    said = (
        rf"a binary upgrade of nginx is under way: .* old master process {upgrading.pid} .*'kill -QUIT {upgrading.pid}'"
    )
    with pytest.raises(MtlsError, match=said):
        serving.serve(202, check=True)
    assert statuses(serving) == {"201"}
    with pytest.raises(MtlsError, match=rf"nginx reloaded, but {said}"):
        serving.apply(*serving.wanted(202))
    assert "202" in statuses(serving)  # brought all the same
    assert "201" in statuses(serving)
    with pytest.raises(MtlsError, match=f"nothing differs, nginx is running, but {said}"):
        serving.apply(*serving.wanted(202))
    assert nginx_facts.gather(str(BINARY), str(serving.main))["upgrading"]
    os.kill(upgrading.pid, signal.SIGQUIT)
    monkeypatch.undo()
    assert not serving.apply(*serving.wanted(202)).changed  # it waits that long
    assert statuses(serving) == {"202"}
    assert not nginx_facts.gather(str(BINARY), str(serving.main))["upgrading"]


def test_a_binary_upgrade_where_no_sockets_can_be_seen(serving, upgrading, monkeypatch):
    """As without root: whose processes they are is seen all the same."""
    workers = serving.nginx.workers(upgrading)
    monkeypatch.setattr(ports, "socket_inodes", lambda _pid: set())
    assert set(serving.nginx.strangers()) == workers
    with monkeypatch.context() as patched:
        patched.setattr(serving.nginx, "_find_master", lambda: upgrading)  # seen from the old one
        serving.nginx._known = None
        found = serving.nginx.strangers()
    serving.nginx._known = None  # the new one is to be stopped at the end
    assert {worker.parent for worker in found} == {serving.nginx._pid_from_file()}


def test_an_old_master_without_workers_is_no_obstacle(serving, upgrading):
    os.kill(upgrading.pid, signal.SIGWINCH)
    assert serving.serve(202).reloaded
    assert statuses(serving) == {"202"}


def test_workers_of_a_killed_master(serving, upgrading, monkeypatch):
    monkeypatch.setattr(transaction, "_UPGRADE_TIMEOUT", 0.2)
    orphans = sorted(worker.pid for worker in serving.nginx.workers(upgrading))
    os.kill(upgrading.pid, signal.SIGKILL)
    pids = " ".join(map(str, orphans))
    with pytest.raises(MtlsError, match=rf"processes without a master \({pids}\).*'kill -QUIT {pids}'"):
        serving.apply(*serving.wanted(202))
    for pid in orphans:
        os.kill(pid, signal.SIGQUIT)
    monkeypatch.undo()
    serving.apply(*serving.wanted(202))
    assert statuses(serving) == {"202"}


@pytest.mark.parametrize("seen", [True, False])
def test_another_nginx_is_nothing_to_us(serving, tmp_path, pair, monkeypatch, seen):
    other = Host(tmp_path / "other", pair)
    other.serve(201)
    try:
        with monkeypatch.context() as patched:
            if not seen:
                patched.setattr(ports, "socket_inodes", lambda _pid: set())
            assert serving.nginx.strangers() == []
        assert serving.serve(202).reloaded
    finally:
        other.nginx.stop()


# An nginx that sees other files than we do


@pytest.fixture
def apart(serving, crl, tmp_path):
    """Start nginx with a view of the file system of its own, after these commands."""

    def start(*commands: str) -> None:
        serving.nginx.stop()
        script = "\n".join(["set -e", *commands, f"exec {BINARY} -c {serving.main}"])
        if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
            pytest.skip("no view of its own can be made here")
        subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True, cwd=tmp_path)
        deadline = time.monotonic() + 10
        while serving.status() != "201":
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return start


def test_an_nginx_that_sees_another_folder(serving, crl, apart):
    folder = serving.path("client-certs")
    apart(f"cp -a {folder} kept", f"mount -t tmpfs tmpfs {folder}", f"cp -a kept/. {folder}")
    said = r"nginx does not see .*/client-certs/.*, but something else in its place\. Remove that, or bind the folder"
    with refused(serving, rf"{said} to itself, and restart nginx\. Nothing was changed$"):
        serving.apply(crl)
    with refused(serving, said):  # what is to come there is hidden as well
        serving.apply(WantedFile(serving.path("client-certs/new/ca.crt"), serving.certificate))
    with pytest.raises(MtlsError, match=rf"still lets in whoever was revoked since: {said}"):
        serving.apply(crl, close_rejected=True)
    assert pathlib.Path(crl.path).read_bytes() == crl.content
    assert serving.status() == "201"
    serving.nginx.stop()
    assert serving.apply(crl, close_rejected=True).started
    assert serving.status() == "418"


def test_an_nginx_that_sees_another_file_until_it_is_replaced(serving, crl, apart):
    """Linux drops the mount with the file that it lay on, in every view."""
    apart(f"cp {crl.path} kept", f"mount --bind kept {crl.path}")
    with refused(serving, rf"nginx does not see {crl.path}, but something else in its place"):
        serving.apply(crl)
    with pytest.raises(MtlsError, match="nginx has read it, and will not when it starts again: nginx does not see"):
        serving.apply(crl, close_rejected=True)
    assert serving.status() == "418"
    assert not serving.apply(crl).changed


# Services of ours that nginx rejects


def beside(host: Host, name: str, more: str = "") -> WantedFile:
    """Another service of ours on the same socket."""
    text = host.server(203).content.decode().replace("a.test", f"{name}.test")
    return WantedFile(host.path(f"conf.d/mtls-{name}.conf"), text.replace("server {", f"server {{ {more}").encode())


def answer(host: Host, name: str) -> str:
    return probe.ask(probe.Target("127.0.0.1", host.port, name), probe.Attempt("no certificate", 200)).got


@pytest.fixture
def crl(serving):
    """A file that must get in; the service refuses to answer 201 once it is read, by way of `ssl_crl`'s like."""
    path = serving.path("client-certs/new.map")
    maps = WantedFile(
        serving.path("conf.d/mtls.conf"),
        f"{MARKER}map $ssl_server_name $answer {{ default 1; include {path}; }}\n".encode(),
    )
    serving.apply(WantedFile(path, b"# none\n"), maps, *serving.wanted(201, "if ($answer = 2) { return 418; }"))
    text = serving.server(201).content.replace(b"return 201;", b"if ($answer = 2) { return 418; } return 201;")
    serving.apply(WantedFile(serving.server().path, text), beside(serving, "b"), beside(serving, "c"))
    assert (serving.status(), answer(serving, "b.test")) == ("201", "203")
    return WantedFile(path, b"a.test 2;\n")


def vanished_certificate(host: Host, name: str) -> str:
    gone = host.conf / f"{name}.crt"
    gone.write_bytes(host.certificate)
    text = beside(host, name).content.replace(f"{host.path('server-certs/a.crt')}".encode(), str(gone).encode())
    host.apply(WantedFile(beside(host, name).path, text))
    gone.unlink()
    return f"{gone}"


def unresolvable_upstream(host: Host, name: str) -> str:
    """As a version of ours wrote it that had nginx resolve names at its start."""
    path = pathlib.Path(beside(host, name).path)
    path.write_bytes(beside(host, name, "location /up { proxy_pass http://gone.invalid:81; }").content)
    return "gone.invalid"


def unusable_socket(host: Host, name: str) -> str:
    """Even a closed block would be rejected for this one."""
    path = pathlib.Path(beside(host, name).path)
    path.write_bytes(beside(host, name, "listen 127.0.0.1:1 nonsense;").content)
    return "nonsense"


@pytest.mark.parametrize("breaking", [vanished_certificate, unresolvable_upstream, unusable_socket])
@pytest.mark.parametrize("broken", ["b", "0"], ids=["another", "the socket's first"])
def test_a_broken_service_is_closed_and_the_others_get_the_crl(serving, crl, breaking, broken):
    if broken == "0":
        serving.apply(beside(serving, "0"))
    words = breaking(serving, broken)
    path = pathlib.Path(beside(serving, broken).path)
    with pytest.raises(MtlsError, match=rf"rejects this host's configuration as it is, because of {path}.*{words}"):
        serving.serve(202)
    assert serving.status() == "201"
    before = serving.tree()
    with pytest.raises(MtlsError, match=rf"service {broken} would be closed: .*{path}: .*{words}"):
        serving.apply(crl, close_rejected=True, check=True)
    assert serving.tree() == before

    said = rf"service {broken} is closed: nobody gets in there until it is fixed and site.yml has run \(.*{words}"
    with pytest.raises(MtlsError, match=rf"nginx reloaded, but .*{said}") as caught:
        serving.apply(crl, close_rejected=True)
    assert "before any change of ours" not in str(caught.value)
    assert (serving.status(), answer(serving, "c.test")) == ("418", "203")
    assert not answer(serving, f"{broken}.test").isdigit() or breaking is unusable_socket
    assert serving.accepts()
    # And so again and again, until it is repaired.
    with pytest.raises(MtlsError, match=rf"nothing differs, nginx is running, but .*{said}"):
        serving.apply(crl, close_rejected=True)
    assert serving.apply(beside(serving, broken)).reloaded
    assert answer(serving, f"{broken}.test") == "203"
    assert not serving.apply(crl, close_rejected=True).changed


def test_a_snippet_is_never_emptied(serving, crl):
    """Without its lines the server block around it would be open."""
    snippet = serving.conf / "snippets" / "mtls-d.conf"
    snippet.parent.mkdir()
    snippet.write_text(f"{MARKER}if ($answer = 1) {{ return 403; }}\n")
    own = serving.conf / "conf.d" / "own.conf"
    own.write_text(beside(serving, "own", f"include {snippet};").content.decode().removeprefix(MARKER))
    serving.apply(reload=True)
    assert answer(serving, "own.test") == "403"
    text = f"{MARKER}nonsense; if ($answer = 1) {{ return 403; }}\n"
    snippet.write_text(text)
    with pytest.raises(MtlsError, match=rf"the CRL is in place, but .*because of {snippet}, .*nonsense"):
        serving.apply(crl, close_rejected=True)
    assert snippet.read_text() == text
    assert answer(serving, "own.test") == "403"


def test_a_certificate_that_is_none_keeps_no_crl_out(serving, crl, tmp_path):
    odd = tmp_path / "odd"
    os.mkfifo(odd)
    textfile = Textfile(str(tmp_path / "m.prom"), [("", str(tmp_path), str(odd))], [("x", str(odd))])
    assert serving.apply(crl, close_rejected=True, textfile=textfile).reloaded
    assert serving.status() == "418"


def test_several_broken_services(serving, crl):
    vanished_certificate(serving, "b")
    unresolvable_upstream(serving, "c")
    with pytest.raises(MtlsError, match=r"service b, c is closed: .*mtls-b.conf.*\.crt.*mtls-c.conf.*gone\.invalid"):
        serving.apply(crl, close_rejected=True)
    assert serving.status() == "418"


def test_a_host_that_is_down_for_a_broken_service(serving, crl):
    vanished_certificate(serving, "b")
    serving.nginx.stop()
    with pytest.raises(MtlsError, match=r"nginx started, but .*service b is closed"):
        serving.apply(crl, close_rejected=True)
    assert serving.status() == "418"


def test_what_is_not_ours_is_broken(serving, crl):
    """No reload is possible: the CRL is there for when it is, and nobody may take the run for a success."""
    foreign = serving.conf / "sites-enabled" / "shop"
    foreign.write_text("sever {}\n")
    workers = serving.workers()
    words = r"in files that are not ours.*unknown directive \"sever\" in .*/sites-enabled/shop:1"
    before = serving.tree()
    with pytest.raises(MtlsError, match=rf"the CRL would be put in place, but .*{words}"):
        serving.apply(crl, close_rejected=True, check=True)
    assert serving.tree() == before
    for _run in range(2):
        with pytest.raises(MtlsError, match=rf"the CRL is in place, .*lets in whoever was revoked since: .*{words}"):
            serving.apply(crl, close_rejected=True)
        assert pathlib.Path(crl.path).read_bytes() == crl.content
        assert (serving.workers(), serving.status()) == (workers, "201")
        assert not unchanged(serving)
    # An ordinary run that fails forgets nothing of it.
    with pytest.raises(MtlsError, match="before any change of ours"):
        serving.serve(202)
    foreign.unlink()
    assert serving.apply(crl, close_rejected=True).reloaded
    assert serving.status() == "418"
    assert not serving.apply(crl, close_rejected=True).changed


def test_what_is_not_ours_is_fixed_before_an_ordinary_run(serving, crl):
    foreign = serving.conf / "sites-enabled" / "shop"
    foreign.write_text("sever {}\n")
    with pytest.raises(MtlsError, match="the CRL is in place"):
        serving.apply(crl, close_rejected=True)
    foreign.unlink()
    assert serving.apply(crl).reloaded
    assert serving.status() == "418"


def test_a_stopped_host_with_what_is_not_ours_broken(serving, crl):
    (serving.conf / "sites-enabled" / "shop").write_text("sever {}\n")
    serving.nginx.stop()
    with pytest.raises(MtlsError, match="the CRL is in place, and nginx is not running: "):
        serving.apply(crl, close_rejected=True)
    (serving.conf / "sites-enabled" / "shop").unlink()
    subprocess.run([serving.nginx.binary, "-c", serving.main], check=True)
    assert serving.status() == "418"
    # With nothing to be put in place, nothing is left for the next run to finish.
    serving.apply(crl, close_rejected=True)
    (serving.conf / "sites-enabled" / "shop").write_text("sever {}\n")
    serving.nginx.stop()
    before = serving.tree()
    with pytest.raises(MtlsError, match="the CRL is in place, and nginx is not running: "):
        serving.apply(crl, close_rejected=True)
    assert serving.tree() == before


def end_the_run(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def mistaken(*_arguments: object) -> None:
    raise LookupError("a mistake")


def unable(*_arguments: object) -> None:
    raise OSError(errno.EROFS, "read-only file system")


HELD = r"And nginx rejects this host's configuration as it is, in files that are not ours.*unknown directive \"sever\""
BEFORE = r"Every file is as it was before\."


def test_a_crl_for_later_that_is_not_put_in_place(serving, crl, monkeypatch):
    shop = serving.conf / "sites-enabled" / "shop"
    shop.write_text("sever {}\n")
    before = serving.tree()

    def fails(error: type[Exception], said: str, **instead: object) -> None:
        with monkeypatch.context() as patched:
            for name, function in instead.items():
                patched.setattr(os if name == "replace" else swap.Swap, name, function)
            with pytest.raises(error, match=said):
                serving.apply(crl, close_rejected=True)

    replaces = iter([end_the_run])
    ended = rf"the files could not be put in place: the run was ended by SIGTERM\. {BEFORE} {HELD}"
    fails(MtlsError, ended, replace=lambda *paths, replace=os.replace: next(replaces, replace)(*paths))
    assert serving.tree() == before
    with mounted(serving.conf / "client-certs", "ro"):
        fails(MtlsError, rf"could not be put in place: .*new\.map: read-only file system; mount .* {BEFORE} {HELD}")
    assert serving.tree() == before

    # Nor can they be put back: the next run does it.
    kept = rf"Putting the files back failed as well .*the next run tries .*{HELD}"
    fails(MtlsError, kept, decide_unread=unable, undo=unable)
    assert pathlib.Path(crl.path).read_bytes() == crl.content
    fails(LookupError, "a mistake", decide_unread=mistaken)
    assert {name: entry for name, entry in serving.tree().items() if name != swap.JOURNAL} == before
    assert serving.status() == "201"
    shop.unlink()
    assert serving.apply(crl, close_rejected=True).reloaded
    assert serving.status() == "418"
    assert not os.path.exists(serving.path(swap.JOURNAL))


def test_the_running_nginx_cannot_be_reloaded_at_all(serving, crl):
    """`nginx -t` finds nothing, and the running one refuses."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        foreign = serving.conf / "sites-enabled" / "shop"
        foreign.write_text(f"server {{ listen localhost:{other.getsockname()[1]}; }}\n")
        with pytest.raises(MtlsError, match=r"the CRL is in place, .*the reload failed.*failed \(98"):
            serving.apply(crl, close_rejected=True)
        assert pathlib.Path(crl.path).read_bytes() == crl.content
        assert serving.status() == "201"
    assert serving.apply(crl, close_rejected=True).reloaded
    assert serving.status() == "418"


# Refusals before anything is touched


@contextlib.contextmanager
def refused(host: Host, words: str):
    before, workers = host.tree(), host.workers()
    with pytest.raises(MtlsError, match=words):
        yield
    assert host.tree() == before
    assert host.workers() == workers
    assert host.status() == "201"


def test_port_of_another_program(serving):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with refused(serving, rf"port {port} is held by .*\(process {os.getpid()}\).*mtls-a.conf"):
            serving.apply(*serving.wanted(201, f"listen 127.0.0.1:{port} ssl;"))


def test_port_of_another_program_on_every_address(serving):
    with socket.create_server(("0.0.0.0", 0)) as other, refused(serving, "is held by"):
        serving.apply(*serving.wanted(201, f"listen 127.0.0.1:{other.getsockname()[1]} ssl;"))


def test_configuration_file_of_somebody_else(serving):
    foreign = serving.conf / "conf.d" / "mtls-b.conf"
    foreign.write_text("# mine\n")
    with refused(serving, "mtls-b.conf: this file was not written by mtls.nginx"):
        serving.apply(WantedFile(str(foreign), MARKER.encode()))
    with refused(serving, "mtls-b.conf: this file was not written by mtls.nginx"):
        serving.apply(absent=[str(foreign)])


def test_forgotten_service(serving):
    with refused(serving, r"mtls-a.conf: written by mtls.nginx .* state: absent"):
        serving.apply(owned=[serving.path("conf.d/mtls-*.conf")])


def test_conf_d_not_included(serving):
    serving.main.write_text(serving.main.read_text().replace(f"include {serving.conf}/conf.d/*.conf;", ""))
    with refused(serving, rf"does not include {serving.conf}/conf.d/mtls-a.conf: put the line 'include "):
        serving.serve(202)


@pytest.mark.parametrize("check", [True, False])
def test_conf_d_no_longer_included_though_nothing_else_differs(serving, check):
    serving.main.write_text(serving.main.read_text().replace(f"include {serving.conf}/conf.d/*.conf;", ""))
    with refused(serving, rf"does not include {serving.conf}/conf.d/mtls-a.conf: put the line 'include "):
        serving.serve(201, check=check)


def test_conf_d_included_in_the_wrong_place(serving):
    text = serving.main.read_text().replace(f"include {serving.conf}/conf.d/*.conf;", "")
    serving.main.write_text(f"include conf.d/*.conf;\n{text}")
    with refused(serving, "does not include"):
        serving.serve(202)


def test_server_name_that_is_taken(serving):
    site = serving.conf / "sites-enabled" / "shop"
    site.write_text(f"server {{ listen 127.0.0.1:{serving.port}; server_name a.test; }}\n")
    said = r"server name a.test on 127.0.0.1:\d+ is served already, in .*/sites-enabled/shop: .* the service's server_n"
    with refused(serving, said):
        serving.serve(202)


def test_names_that_others_have_twice_are_nothing_to_us(serving):
    site = f"server {{ listen 127.0.0.1:{free_port()}; server_name shop.test; }}\n"
    (serving.conf / "sites-enabled" / "shop").write_text(site * 2)
    assert serving.serve(202).reloaded
    assert serving.status() == "202"


def test_a_file_outside_of_nginxs_folder_is_tried_out_too(serving, tmp_path):
    """It is asked about before it is written, where the configuration names it."""
    outside = tmp_path / "srv" / "own.crt"
    outside.parent.mkdir()
    outside.write_bytes(serving.certificate)
    text = serving.server(201).content.replace(serving.path("server-certs/a.crt").encode(), str(outside).encode())
    serving.apply(WantedFile(serving.server().path, text))
    with refused(serving, rf'cannot load certificate "{outside}"'):
        serving.apply(WantedFile(str(outside), b"junk\n"))
    assert outside.read_bytes() == serving.certificate
    assert serving.apply(WantedFile(str(outside), b"# ours\n" + serving.certificate)).reloaded
    assert serving.status() == "201"


def test_host_configuration_was_broken_before(serving):
    (serving.conf / "sites-enabled" / "shop").write_text("sever {}\n")
    words = r'as it is, before any change of ours.*unknown directive "sever" in .*/etc/nginx/sites-enabled/shop:1'
    with refused(serving, words):
        serving.serve(202)


def test_rejected_configuration_leaves_no_scratch(serving, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with refused(serving, "nginx rejects the new configuration, so nothing was changed"):
        serving.apply(*serving.wanted(201, "nonsense;"), scratch_parent=str(scratch))
    assert list(scratch.iterdir()) == []


def test_junk_crl_is_caught_before_the_reload(serving):
    junk = WantedFile(serving.path("client-certs/crl.pem"), b"junk\n")
    with refused(serving, "client-certs/crl.pem"):
        serving.apply(*serving.wanted(201, f"ssl_crl {junk.path};"), junk)


# A step fails


@contextlib.contextmanager
def rolled_back(host: Host, words: str):
    """Byte for byte as before (the very same files), valid, served; and the next run succeeds."""
    before = host.tree()
    with pytest.raises(MtlsError, match=words) as caught:
        yield
    assert "Every file is as it was before" in str(caught.value)
    assert host.tree() == before
    assert host.accepts()
    assert host.status() == "201"


def test_rejected_in_place(serving, monkeypatch):
    monkeypatch.setattr(transaction.nginx_stage, "try_out", lambda *_args: Verdict(True, ()))
    with rolled_back(serving, 'nginx rejects the configuration in place: .*unknown directive "nonsense"'):
        serving.apply(*serving.wanted(202, "nonsense;"))
    assert serving.serve(202).reloaded


def test_files_that_cannot_be_put_back_are_by_the_next_run(serving, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(transaction.nginx_stage, "try_out", lambda *_args: Verdict(True, ()))
        patched.setattr(swap.Swap, "undo", unable)
        words = r"in place: .*nonsense.*Putting the files back failed as well \(.*read-only file system\): the next run"
        with pytest.raises(MtlsError, match=words):
            serving.apply(*serving.wanted(202, "nonsense;"))
    assert not serving.accepts()
    assert serving.serve(202).reloaded
    assert serving.status() == "202"


def test_reload_rejected_because_of_a_junk_crl(serving, monkeypatch):
    """The old workers go on serving without a word, with the old CRL."""
    monkeypatch.setattr(Nginx, "test", lambda *_args: Verdict(True, ()))
    junk = WantedFile(serving.path("client-certs/crl.pem"), b"junk\n")
    before, workers = serving.tree(), serving.workers()
    with pytest.raises(MtlsError, match=r"the reload failed: .*client-certs/crl.pem.*as it was before") as caught:
        serving.apply(*serving.wanted(202, f"ssl_crl {junk.path};"), junk)
    monkeypatch.undo()
    assert "nginx serves with the old configuration" in str(caught.value)
    assert serving.tree() == before
    assert not workers & serving.workers()  # it was reloaded again, with the old files
    assert serving.accepts()
    assert serving.status() == "201"


def test_reload_rejected_because_a_port_is_taken(serving, monkeypatch):
    monkeypatch.setattr(ports, "taken", lambda *_args: [])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with rolled_back(serving, rf"the reload failed: .*bind\(\) to 127.0.0.1:{port} failed \(98"):
            serving.apply(*serving.wanted(202, f"listen 127.0.0.1:{port} ssl;"))
    assert serving.serve(202).reloaded


def test_new_workers_die(serving):
    old, over = serving.workers(), threading.Event()
    file = pathlib.Path(serving.server().path)

    def kill_new_ones():
        while not over.is_set():
            new = serving.workers() - old
            if b"return 202" in file.read_bytes():  # asked last: those that serve with the old file again may live
                for pid in new:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_new_ones)
    killer.start()
    try:
        with rolled_back(serving, "the reload failed: .*new worker processes die.*exited on signal 9"):
            serving.serve(202)
    finally:
        over.set()
        killer.join()


def test_new_workers_still_die_while_the_old_files_come_back(serving, monkeypatch):
    """nginx starts those that die again, and they look like what the second reload has brought."""
    reload, calls = Nginx.reload, []

    def reload_that_meets_them(nginx, log):
        calls.append(nginx)
        reload(nginx, log)
        if len(calls) < 3:
            raise nginx_process.DyingWorkersError("its new worker processes die")

    monkeypatch.setattr(Nginx, "reload", reload_that_meets_them)
    with rolled_back(serving, "the reload failed: .*and nginx serves with the old configuration"):
        serving.serve(202)
    assert len(calls) == 3


def test_a_mistake_in_the_code_is_no_reason_to_leave_the_host_changed(serving, monkeypatch):
    before = serving.tree()
    with monkeypatch.context() as patched:
        patched.setattr(transaction, "_check_gate", mistaken)
        with pytest.raises(LookupError, match="a mistake"):
            serving.serve(202)
    assert serving.tree() == before
    assert serving.status() == "201"


def test_gate_answers_otherwise(serving):
    gate = GateProbe("127.0.0.1", serving.port, "a.test", 400)
    words = rf"the check of the gate failed: https://a.test:{serving.port} at 127.0.0.1 .*with 202, and must answer 400"
    with rolled_back(serving, words):
        serving.apply(*serving.wanted(202), gates=[gate])
    assert serving.serve(202).reloaded


def test_failed_first_start_leaves_nothing(host, monkeypatch):
    monkeypatch.setattr(ports, "taken", lambda *_args: [])
    before = host.tree()
    words = r"nginx could not be started: .*bind\(\) to .*as it was before, and nginx is not running"
    with socket.create_server(("127.0.0.1", host.port)), pytest.raises(MtlsError, match=words):
        host.serve(201)
    assert host.tree() == before
    assert host.nginx.master() is None
    assert host.serve(201).started


def test_failed_gate_after_a_first_start_stops_nginx_again(host):
    before = host.tree()
    gates = [GateProbe("127.0.0.1", host.port, "a.test", 400)]
    words = r"the check of the gate failed: .*as it was before, and nginx is not running, as before\.$"
    with pytest.raises(MtlsError, match=words):
        host.apply(*host.wanted(201), gates=gates)
    assert host.tree() == before
    assert host.nginx.master() is None
    # Though no file differs.
    host.serve(201)
    host.nginx.stop()
    before = host.tree()
    with pytest.raises(MtlsError, match=words):
        host.apply(*host.wanted(201), gates=gates)
    assert host.tree() == before
    assert host.nginx.master() is None


@contextlib.contextmanager
def mounted(folder: pathlib.Path, options: str):
    """A small file system of its own over a folder."""
    command = ["mount", "-t", "tmpfs", "-o", "size=96k,mode=755", "tmpfs", str(folder)]
    with tempfile.TemporaryDirectory() as kept:
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    try:
        if options:
            subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(serving):
    with mounted(serving.conf / "conf.d", ""):
        big = serving.server(202, "# a comment\n" * 10_000)
        with rolled_back(serving, "mtls-a.conf.*no space left on device; free some space"):
            serving.apply(*serving.wanted(202)[:2], big)
        assert serving.serve(202).reloaded


def test_full_disk_at_any_step(serving):
    """All of nginx's files on one full disk, with room for so many more pages: for no journal, for half the files…"""
    went_through = []
    with mounted(serving.conf, ""):
        for pages in range(8):
            before, was = serving.tree(), serving.status()
            _fill(serving.conf, pages)
            said = None
            try:
                serving.serve(203 if was == "202" else 202)
            except MtlsError as error:
                said = str(error)
            (serving.conf / "filler").unlink()
            went_through.append(said is None)
            if said is None:
                assert serving.status() != was
            else:
                assert "no space left on device; free some space" in said
                assert "Every file is as it was before" in said
                assert serving.status() == was
                assert serving.tree() == before
            assert serving.accepts()
        assert went_through == sorted(went_through)
        assert set(went_through) == {False, True}


def _fill(folder: pathlib.Path, pages: int) -> None:
    room, filler = folder / "room", folder / "filler"
    room.write_bytes(bytes(pages * 4096))
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))
    room.unlink()


def test_read_only_folder(serving):
    words = "the files could not be put in place: .*read-only file system"
    with mounted(serving.conf / "conf.d", "ro"), rolled_back(serving, words):
        serving.serve(202)


@pytest.fixture
def open_folder():
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def test_without_permission(open_folder, pair):
    host = Host(open_folder, pair)

    def as_nobody():
        os.setgid(65534)
        os.setuid(65534)
        with pytest.raises(PermissionError) as caught:
            host.serve(202)
        assert caught.value.filename == host.path("server-certs/a.key")

    try:
        host.serve(201)
        before = host.tree()
        assert os.waitpid(forked(as_nobody), 0)[1] == 0
        assert host.tree() == before
    finally:
        host.nginx.stop()


# The run is ended from outside


KILLED_AT = {
    "while files are prepared": (swap, "_write", 2),
    "between two renames": (os, "replace", 4),  # the journal is renamed into place twice before
    "before nginx -t": (Nginx, "test", 2),  # the first one is in the scratch folder
    "before the reload": (Nginx, "reload", 1),
    "after the reload": (transaction, "_check_gate", 1),
    "while cleaning up": (swap.Swap, "finish", 1),
}


def die_at(owner: object, name: str, call: int) -> None:
    """Kill this process at one call of a function, counted from 1."""
    function = getattr(owner, name)
    calls = iter(range(call - 1))

    def wrapped(*args, **kwargs):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(owner, name, wrapped)


@pytest.mark.parametrize("step", KILLED_AT)
def test_killed_run_is_undone_by_the_next(serving, step):
    before = serving.tree()

    def killed():
        die_at(*KILLED_AT[step])
        gate = GateProbe("127.0.0.1", serving.port, "a.test", 202)
        serving.apply(*serving.wanted(202), WantedFile(serving.path("new/ca.pem"), b"x"), gates=[gate])

    pid = forked(killed)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert os.path.exists(serving.path(swap.JOURNAL))
    assert serving.accepts()

    check = serving.serve(201, check=True)
    assert check.changed
    assert os.path.exists(serving.path(swap.JOURNAL))

    outcome = serving.serve(201)
    assert outcome.reloaded or step == "while files are prepared"
    assert serving.status() == "201"
    left = serving.tree()
    if step == "while cleaning up":  # decided: what the killed run put in place counts
        left.pop("new/ca.pem")
        left.pop("new")
        assert {path: entry[1:] for path, entry in left.items()} == {path: entry[1:] for path, entry in before.items()}
    else:
        assert left == before
    assert serving.serve(203).reloaded
    assert serving.status() == "203"


def test_a_killed_run_on_a_host_that_is_to_stay_down(serving):
    before = serving.tree()

    def killed():
        die_at(*KILLED_AT["between two renames"])
        serving.apply(*serving.wanted(202), WantedFile(serving.path("new/ca.pem"), b"x"))

    assert os.waitpid(forked(killed), 0)[1] == signal.SIGKILL
    serving.nginx.stop()
    with pytest.raises(MtlsError, match=r"nginx rejects the new configuration, so nothing was changed.*nonsense"):
        serving.apply(*serving.wanted(201, "nonsense;"), start=False)
    assert serving.tree() == before
    assert serving.nginx.master() is None


@pytest.mark.parametrize("times", [6, pytest.param(150, marks=pytest.mark.long)])
def test_killed_at_random(serving, times):
    """Wherever it is killed: nginx would start with what lies there, serves, and the next run brings order."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    for number in range(times):
        status, before = (202, 201) if number % 2 else (201, 202)
        serving.serve(before)
        pid = forked(lambda status=status: serving.serve(status))
        time.sleep(dice.uniform(0, 0.7))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert serving.accepts(), f"seed {seed}, number {number}"
        assert serving.status() in ("201", "202"), f"seed {seed}, number {number}"
    serving.serve(203)
    assert serving.status() == "203"
    assert not [name for name in serving.tree() if "/." in f"/{name}"]


def test_ended_by_a_signal(serving):
    def ended():
        transaction._check_gate = lambda _gate: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(MtlsError, match=r"the run was ended by SIGTERM\. Every file is as it was before"):
            serving.serve(202)

    before = serving.tree()
    assert os.waitpid(forked(ended), 0)[1] == 0
    assert serving.tree() == before
    assert serving.status() == "201"


# A look instead of a run


def unchanged(host: Host, **options: object) -> bool:
    """Whether a look finds all that `Host.serve` would put in place with status 201."""
    wanted = {item.path: comparison.fingerprint(item.content, item.mode) for item in host.wanted(201)}
    expected = {**wanted, **dict.fromkeys(options.pop("absent", ()))}
    looked = survey.look(str(host.main), list(expected), ChangeRequest(**options))
    return looked.settled and looked.fingerprints == expected


def remove(path: pathlib.Path) -> None:
    path.unlink()


def link_to_nowhere(path: pathlib.Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def link_to_a_copy(path: pathlib.Path) -> None:
    path.rename(path.with_suffix(".copy"))
    path.symlink_to(path.with_suffix(".copy"))


def folder_instead(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


ALTERATIONS = {
    "nothing": ("nginx.conf", lambda path: None),
    "another content": ("client-certs/ca.crt", lambda path: path.write_bytes(path.read_bytes() + b"\n")),
    "another mode": ("server-certs/a.key", lambda path: path.chmod(0o640)),
    "another owner": ("server-certs/a.key", lambda path: os.chown(path, 65534, -1)),
    "a missing file": ("server-certs/a.crt", remove),
    "a link to nowhere": ("server-certs/a.crt", link_to_nowhere),
    "a link to the same": ("server-certs/a.crt", link_to_a_copy),
    "a folder in the way": ("server-certs/a.crt", folder_instead),
    "a file that is to be absent": ("conf.d/mtls-b.conf", lambda path: path.write_text(MARKER)),
    "a link to nowhere that is to be absent": ("conf.d/mtls-b.conf", lambda path: path.symlink_to("nowhere")),
    "a service that nobody lists": ("conf.d/mtls-c.conf", lambda path: path.write_text(MARKER)),
    "somebody else's file": ("conf.d/mtls-d.conf", lambda path: path.write_text("# mine\n")),
    "no bound": ("nginx.conf", lambda path: path.write_text("".join(path.read_text().splitlines(True)[1:]))),
    "a bound of the host's own": (
        "nginx.conf",
        lambda path: path.write_text("worker_shutdown_timeout 5m;\n" + path.read_text()),
    ),
    "no include of ours": ("nginx.conf", lambda path: path.write_text(path.read_text().replace("/*.conf", "/own*"))),
    "no nginx.conf": ("nginx.conf", remove),
    "a broken nginx.conf": ("nginx.conf", lambda path: path.write_text("http {")),
    "other end dates": ("ends.prom", lambda path: path.write_text("")),
    "a journal": (swap.JOURNAL, lambda path: path.write_text("{}")),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_look_finds_what_a_run_finds(serving, alteration):
    textfile = Textfile(
        serving.path("ends.prom"),
        [("", serving.path("client-certs/ca.crt"), serving.path("client-certs/crl.pem"))],
    )
    options = {
        "absent": [serving.path("conf.d/mtls-b.conf")],
        "owned": [serving.path("conf.d/mtls-*.conf")],
        "shutdown_timeout": 7,
        "textfile": textfile,
    }
    serving.serve(201, **options)
    name, alter = ALTERATIONS[alteration]
    alter(serving.conf / name)
    try:
        as_a_run = not serving.serve(201, **options, check=True).changed
    except (MtlsError, OSError):
        as_a_run = False
    assert unchanged(serving, **options) is as_a_run
    # What else is in nginx.conf is only looked at when something is to be changed.
    same = ("nothing", "a link to the same", "somebody else's file", "a broken nginx.conf")
    assert as_a_run is (alteration in same)


@pytest.mark.parametrize("step", KILLED_AT)
def test_a_look_at_what_a_killed_run_has_left(serving, step):
    gate = GateProbe("127.0.0.1", serving.port, "a.test", 202)

    def killed():
        die_at(*KILLED_AT[step])
        serving.apply(*serving.wanted(202), WantedFile(serving.path("new/ca.pem"), b"x"), gates=[gate])

    assert os.waitpid(forked(killed), 0)[1] == signal.SIGKILL
    assert not unchanged(serving)
    serving.serve(201)
    assert unchanged(serving)


def test_a_look_waits_for_a_run_to_end(serving, monkeypatch):
    monkeypatch.setattr(swap, "_LOCK_TIMEOUT", 0.0)
    with (
        swap.exclusive(str(serving.conf)),
        pytest.raises(MtlsError, match=r"another run .*is changing this host's nginx"),
    ):
        unchanged(serving)


# A glance instead of a look


def glance(host: Host, *paths: str, **options: object) -> dict | None:
    given = {
        "paths": list(paths),
        "owned": [],
        "shutdown_timeout": None,
        "restart": None,
        "expected": {},
        "addresses": [],
    }
    given["renewals"] = str(host.conf / "client-renewals")
    return nginx_glance.glance(str(BINARY), str(host.main), {**given, **options})


def test_a_glance_says_what_a_closer_look_would(serving):
    paths = [item.path for item in serving.wanted(201)]
    request = {"shutdown_timeout": 60, "owned": [str(serving.conf / "conf.d" / "mtls-*.conf")]}
    options = {"textfile": None, "snippets": [], "restart": None, "renewals": str(serving.conf / "client-renewals")}
    looked = nginx_facts.gather(str(BINARY), str(serving.main))
    looked["comparison"] = nginx_facts.compare(str(BINARY), str(serving.main), {"paths": paths, **options, **request})
    looked["acme"] = {"outdated": [], "abandoned": []}
    looked["away"] = ["192.0.2.7"]
    glanced = glance(serving, *paths, **request, addresses=["127.0.0.1", "192.0.2.7"])
    del glanced["trust"]
    assert glanced == looked
    assert all(glanced["comparison"]["fingerprints"][path] for path in paths)


def put(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


SPECIAL = {
    "a snippet": lambda conf: put(conf / "snippets" / "mtls-photos.conf", MARKER),
    "waiting for clients": lambda conf: (conf / "client-renewals").mkdir(),
    "an overlap": lambda conf: put(conf / "conf.d/own.conf", "server { listen 18; } server { listen 127.0.0.1:18; }"),
    "a stray of ours": lambda conf: put(conf / "conf.d" / "mtls-odd.conf", MARKER),
    "a folder": lambda conf: (conf / "conf.d" / "mtls.conf.d").mkdir(),
    "no nginx.conf": lambda conf: (conf / "nginx.conf").unlink(),
}


@pytest.mark.parametrize("special", SPECIAL)
def test_whatever_is_special_takes_a_closer_look(serving, special):
    paths = [str(serving.conf / "conf.d" / "mtls.conf.d")]
    assert glance(serving, *paths)
    SPECIAL[special](serving.conf)
    assert glance(serving, *paths, owned=[str(serving.conf / "conf.d" / "mtls-*.conf")]) is None


def test_a_file_that_is_no_longer_included_takes_a_closer_look(serving):
    paths = [*(item.path for item in serving.wanted(201)), serving.path("conf.d/mtls-not-there.conf")]
    assert glance(serving, *paths)
    ALTERATIONS["no include of ours"][1](serving.main)
    assert glance(serving, *paths) is None


def test_a_file_with_other_trust_takes_a_closer_look(serving):
    (item, *_others) = serving.wanted(201)
    same = comparison.fingerprint(item.content, item.mode)
    assert glance(serving, expected={item.path: same})
    assert glance(serving, expected={item.path: same.swapcase()}) is None
    assert glance(serving, expected={item.path: None}) is None


# Facts


def test_facts(serving):
    (serving.conf / "conf.d" / "own.conf").write_text("map_hash_bucket_size 128;\n")
    facts = nginx_facts.gather(str(BINARY), str(serving.main))
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["version"])
    assert facts["installed"] is facts["running"] is facts["includes_conf_d"] is True
    assert facts["conf_dir"] == str(serving.conf)
    assert nginx_facts.config_error(str(BINARY), str(serving.main), None) is None
    assert facts["directives"]["map_hash_bucket_size"] == "128"
    assert facts["directives"]["worker_shutdown_timeout"] is None


def test_facts_about_names(serving):
    (serving.conf / "conf.d" / "own.conf").write_text("upstream pool { server 127.0.0.1:1; }\nresolver 192.0.2.1;\n")
    facts = nginx_facts.gather(str(BINARY), str(serving.main), ["localhost", "pool", "app.example.com"])
    assert facts["names"] == {"localhost": None, "pool": None, "app.example.com": "app.example.com"}
    assert facts["name_servers"] == resolver.name_servers(pathlib.Path("/etc/resolv.conf").read_text()).addresses
    assert facts["directives"]["resolver"] == "192.0.2.1"
    assert nginx_facts.gather(None, str(serving.main), ["app.example.com"])["names"].keys() == {"app.example.com"}


def test_facts_of_a_broken_host(serving):
    (serving.conf / "sites-enabled" / "shop").write_text("sever {}\n")
    assert (
        nginx_facts.config_error(str(BINARY), str(serving.main), None)
        == f'[emerg] unknown directive "sever" in {serving.conf}/sites-enabled/shop:1'
    )
