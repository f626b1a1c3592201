# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, nginx_process
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import LogTail, Nginx, Process

WHEN = "2026/11/23 15:00:00"


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def fake(tmp_path):
    """An nginx that only talks."""

    def make(text, conf_path="/nowhere/nginx.conf"):
        return Nginx(program(tmp_path / "nginx", text), conf_path)

    return make


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("nginx version: nginx/1.18.0 (Ubuntu)", "1.18.0"),
        ("nginx version: openresty/1.25.3.1", "1.25.3.1"),
    ],
)
def test_version(fake, text, version):
    assert fake(f"echo '{text}' >&2").version() == version


def test_no_nginx_at_all(fake):
    with pytest.raises(MtlsError, match=r"does not look like nginx: .* answers: hello"):
        fake("echo hello").version()
    with pytest.raises(MtlsError, match="cannot run /nowhere/nginx: No such file"):
        Nginx("/nowhere/nginx", "/nowhere/nginx.conf").version()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            "--prefix=/usr/share --conf-path=/etc/nginx/nginx.conf --error-log-path=stderr --pid-path=/run/nginx.pid",
            ("/etc/nginx/nginx.conf", "stderr", "/run/nginx.pid", "/usr/share"),
        ),
        (
            "--with-cc-opt=-O2",
            (
                "/usr/local/nginx/conf/nginx.conf",
                "/usr/local/nginx/logs/error.log",
                "/usr/local/nginx/logs/nginx.pid",
                "/usr/local/nginx",
            ),
        ),
    ],
)
def test_compiled_paths(fake, options, expected):
    compiled = fake(f"echo 'configure arguments: {options}' >&2").compiled
    assert (compiled.conf_path, compiled.error_log, compiled.pid_path, compiled.prefix) == expected
    assert compiled.ssi


def test_a_build_without_ssi(fake):
    assert not fake("echo 'configure arguments: --without-http_ssi_module --with-http_ssl_module' >&2").compiled.ssi


@pytest.mark.parametrize(
    ("output", "problems"),
    [
        ('nginx: [emerg] bad "x" in /a:1\nnginx: configuration file /a test failed', ('[emerg] bad "x" in /a:1',)),
        ("2026/11/23 15:00:00 [emerg] 12#12: bad in /a:1\nnginx: [emerg] bad in /a:1", ("[emerg] bad in /a:1",)),
        ("nginx: [warn] one\nnginx: [emerg] two", ("[warn] one", "[emerg] two")),
        ("no such library", ("no such library",)),
    ],
)
def test_verdict_is_in_nginx_words(fake, output, problems):
    verdict = fake(f"cat <<'END' >&2\n{output}\nEND\nexit 1").test()
    assert (verdict.accepted, verdict.problems) == (False, problems)


def test_warnings_are_accepted_and_told(fake):
    verdict = fake("echo 'nginx: [warn] careful' >&2").test()
    assert (verdict.accepted, verdict.problems) == (True, ("[warn] careful",))


def test_log_tail_is_what_came_after(tmp_path):
    log = tmp_path / "error.log"
    log.write_text("2026/11/23 15:00:00 [emerg] 1#1: of yesterday, and a long one\n")
    tail = LogTail([str(log), str(tmp_path / "later.log")])
    assert tail.quote() == ""
    with log.open("a") as handle:
        handle.write(f"{WHEN} [notice] 1#1: signal\n{WHEN} [emerg] 7#7: bind() failed\n" * 2)
    (tmp_path / "later.log").write_text(f"{WHEN} [alert] 7#7: worker died\n")
    assert tail.quote() == "[emerg] bind() failed; [alert] worker died"
    assert {line["pid"] for line in tail.lines()} == {"7"}
    log.unlink()
    log.write_text(f"{WHEN} [crit] 7#7: after rotation\n")
    assert tail.quote() == "[crit] after rotation; [alert] worker died"


def test_what_the_probe_of_each_run_leaves_is_no_reason(tmp_path):
    log = tmp_path / "error.log"
    tail = LogTail([str(log)])
    log.write_text(f"{WHEN} [alert] 7#7: *5 ignoring stale global SSL error (SSL: error:1) while reading\n")
    assert tail.quote() == ""


def test_what_a_master_says_of_workers_that_end_at_once(tmp_path):
    log = tmp_path / "error.log"
    tail, master = LogTail([str(log)]), Process(7, 1, 1, "")
    crashed = f"{WHEN} [alert] 7#7: worker process 12 exited on signal 31\n"
    log.write_text(
        f"{WHEN} [alert] 8#8: worker process 9 exited with fatal code 2 and cannot be respawned\n"
        f"{WHEN} [alert] 7#7: cache manager process 9 exited with fatal code 2 and cannot be respawned\n{crashed * 4}"
    )
    assert not nginx_process._is_given_up(master, tail)
    log.write_text(crashed * 30)
    assert nginx_process._is_given_up(master, tail)
    log.write_text(f"{WHEN} [alert] 7#7: worker process 9 exited with fatal code 2 and cannot be respawned\n")
    assert nginx_process._is_given_up(master, tail)


def test_a_taken_port_is_retried_before_the_reload_is_given_up(tmp_path):
    log = tmp_path / "error.log"
    tail, master = LogTail([str(log)]), Process(7, 1, 1, "")
    in_use = "bind() to 0.0.0.0:443 failed (98: Address already in use)"
    log.write_text(f"{WHEN} [emerg] 7#7: {in_use}\n{WHEN} [emerg] 8#8: of another\n")
    assert not nginx_process._refused(master, tail)
    with log.open("a") as handle:
        handle.write(f"{WHEN} [emerg] 7#7: still could not bind()\n")
    assert nginx_process._refused(master, tail)


@pytest.mark.parametrize("separator", ["", " ", "\f", "\r", "\v", "\x1c", "\x85", "\u2028"])
def test_what_a_caller_sends_is_not_taken_for_nginx(tmp_path, separator):
    log = tmp_path / "error.log"
    log.write_text("")
    tail, master = LogTail([str(log)]), Process(7, 1, 1, "")
    forged = f"{separator}{WHEN} [emerg] 7#7: forged" * 4000
    request = f'{WHEN} [error] 9#9: *1 open() "/x" failed, client: 192.0.2.1, referrer: "{forged}"\n'
    log.write_text(request)
    assert tail.lines() == []
    # Nor when only the end of such a line is read.
    for cut in range(len(WHEN) + 30):
        log.write_text("x" * cut + request)
        assert tail.lines() == []
    with log.open("a") as handle:
        handle.write(f"{WHEN} [emerg] 7#7: true, client: 192.0.2.1, request: GET\n")
    assert nginx_process._refused(master, tail)
    assert tail.quote() == "[emerg] true"


def test_only_regular_logs_are_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("")
    for name in ("link", "fifo", "folder"):
        path = tmp_path / name
        {"link": lambda p: p.symlink_to(secret), "fifo": os.mkfifo, "folder": lambda p: p.mkdir()}[name](path)
        tail = LogTail([str(path)])
        secret.write_text(f"{WHEN} [emerg] 7#7: secret\n")
        assert tail.quote() == ""
        secret.write_text("")


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("error_log /var/log/nginx/error.log warn;", ["/var/log/nginx/error.log"]),
        ("error_log logs/e.log; error_log syslog:server=x; error_log stderr;", ["/opt/nginx/logs/e.log"]),
        ("", ["/opt/nginx/logs/error.log"]),
    ],
)
def test_error_logs(fake, tmp_path, directive, expected):
    main = tmp_path / "nginx.conf"
    main.write_text(f"{directive} http {{ error_log /elsewhere; }}")
    nginx = fake("echo 'configure arguments: --prefix=/opt/nginx' >&2", str(main))
    assert nginx.error_logs(nginx_conf.load(str(main))) == expected


TITLE = "nginx: master process"


@pytest.mark.parametrize(
    ("conf_path", "title", "ours"),
    [
        ("/etc/nginx/nginx.conf", f"{TITLE} /usr/sbin/nginx", True),
        ("/etc/nginx/nginx.conf", f"{TITLE} /usr/sbin/nginx -g daemon on; master_process on;", True),
        ("/etc/nginx/nginx.conf", f"{TITLE} nginx -c /srv/nginx.conf", False),
        ("/srv/nginx.conf", f"{TITLE} nginx -c /srv/nginx.conf -g daemon off;", True),
        ("/srv/nginx.conf", f"{TITLE} nginx -p /srv -c nginx.conf", True),
        ("/srv/nginx.conf", f"{TITLE} nginx", False),
        ("/opt/etc/nginx.conf", f"{TITLE} nginx", True),
    ],
)
def test_which_instance_is_ours(fake, monkeypatch, conf_path, title, ours):
    nginx = fake("echo 'configure arguments: --prefix=/opt --conf-path=etc/nginx.conf' >&2", conf_path)
    links = {"/proc/7/exe": os.path.realpath(nginx.binary) + " (deleted)"}
    monkeypatch.setattr(nginx_process, "_link", links.get)
    monkeypatch.setattr(nginx_process, "_processes", lambda _title: [Process(7, 1, 1, title)])
    assert (nginx.master() is not None) is ours


def test_another_program_that_was_started_without_a_configuration_file_is_not_ours(fake, monkeypatch):
    """Such as one that somebody has built: it reads another file than the package's."""
    nginx = fake("echo 'configure arguments: --conf-path=/etc/nginx/nginx.conf' >&2", nginx_process.DEFAULT_CONF)
    monkeypatch.setattr(nginx_process, "_link", {"/proc/7/exe": "/usr/local/nginx/sbin/nginx"}.get)
    monkeypatch.setattr(nginx_process, "_processes", lambda _title: [Process(7, 1, 1, f"{TITLE} nginx")])
    assert nginx.master() is None


def test_the_nginx_of_a_container_is_not_ours(fake, monkeypatch):
    nginx = fake("", "/etc/nginx/nginx.conf")
    links = {"/proc/7/ns/pid": "pid:[2]", "/proc/self/ns/pid": "pid:[1]"}
    monkeypatch.setattr(nginx_process, "_link", links.get)
    monkeypatch.setattr(nginx_process, "_processes", lambda _title: [Process(7, 1, 1, f"{TITLE} nginx")])
    assert nginx.master() is None


def test_of_two_masters_the_pid_file_names_ours(fake, tmp_path, monkeypatch):
    main = tmp_path / "nginx.conf"
    main.write_text(f"pid {tmp_path}/nginx.pid;")
    nginx = fake("", str(main))
    old, new = Process(7, 1, 1, f"{TITLE} nginx -c {main}"), Process(8, 2, 7, f"{TITLE} nginx -c {main}")
    monkeypatch.setattr(nginx_process, "_link", {}.get)
    monkeypatch.setattr(nginx_process, "_processes", lambda _title: [old, new])
    assert nginx.master() == old
    (tmp_path / "nginx.pid").write_text("8\n")
    assert nginx.master() == new


def test_workers_that_leave_do_not_count(fake, monkeypatch):
    title = "nginx: worker process"
    processes = [Process(8, 1, 7, title), Process(9, 1, 7, f"{title} is shutting down"), Process(10, 1, 6, title)]
    monkeypatch.setattr(nginx_process, "_processes", lambda _title: processes)
    assert fake("").workers(Process(7, 1, 1, TITLE)) == {processes[0]}


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A systemctl that notes its arguments; the unit's main process is 7."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(
        folder / "systemctl",
        f'echo "$@" >>{tmp_path}/calls\ncase "$*" in *MainPID*) echo 7;; *LoadState*) echo loaded;; esac',
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(nginx_process, "systemd_runs", lambda: True)
    monkeypatch.setattr(Nginx, "_wait", lambda *_args: None)
    monkeypatch.setattr(Nginx, "workers", lambda *_args: set())
    return lambda: (tmp_path / "calls").read_text().splitlines()


def test_systemd_starts_reloads_and_stops_its_unit(systemd, monkeypatch):
    nginx = Nginx("/usr/sbin/nginx", nginx_process.DEFAULT_CONF)
    monkeypatch.setattr(Nginx, "master", lambda _self: Process(7, 1, 1, TITLE))
    nginx.start(LogTail([]))
    nginx.reload(LogTail([]))
    nginx.stop()
    assert [call for call in systemd() if not call.startswith("show")] == [
        "reset-failed nginx.service",
        "start nginx.service",
        "reload nginx.service",
        "stop nginx.service",
    ]


def test_what_systemd_was_about_to_start_it_is_left_to_start_again(systemd, monkeypatch, tmp_path):
    """It was waiting for RestartSec when we came, and goes on trying if our own start fails."""
    path = tmp_path / "bin" / "systemctl"
    path.write_text(path.read_text().replace("esac", "*ActiveState*) echo activating;; esac"))
    monkeypatch.setattr(Nginx, "master", lambda _self: None)
    nginx = Nginx("/usr/sbin/nginx", nginx_process.DEFAULT_CONF)
    nginx.start(LogTail([]))
    nginx.stop()
    assert [call for call in systemd() if not call.startswith("show")] == [
        "reset-failed nginx.service",
        "restart nginx.service",
        "stop nginx.service",
        "start --no-block nginx.service",
    ]


def test_an_instance_that_is_not_the_unit_gets_the_signal_itself(systemd, monkeypatch):
    sent = []
    monkeypatch.setattr(Nginx, "master", lambda _self: Process(8, 1, 1, TITLE))
    monkeypatch.setattr(nginx_process.os, "kill", lambda *args: sent.append(args))
    Nginx("/usr/sbin/nginx", nginx_process.DEFAULT_CONF).reload(LogTail([]))
    Nginx("/usr/sbin/nginx", "/srv/nginx.conf").reload(LogTail([]))
    assert sent == [(8, signal.SIGHUP), (8, signal.SIGHUP)]
    assert [call for call in systemd() if not call.startswith("show")] == []


def test_start_that_fails_is_quoted(fake):
    nginx = fake("echo 'nginx: [emerg] no room' >&2; exit 1")
    with pytest.raises(MtlsError, match=r"-c /nowhere/nginx.conf' failed with status 1: nginx: \[emerg\] no room"):
        nginx.start(LogTail([]))


@pytest.mark.parametrize("script", [True, False])
def test_without_systemd_the_init_script_starts_it_or_else_the_program(fake, tmp_path, monkeypatch, script):
    monkeypatch.setattr(nginx_process, "systemd_runs", lambda: False)
    monkeypatch.setattr(nginx_process, "INIT_SCRIPT", str(tmp_path / "init"))
    monkeypatch.setattr(Nginx, "_wait", lambda *_args: None)
    if script:
        program(tmp_path / "init", f'echo "init $@" >>{tmp_path}/calls')
    fake(f'echo "nginx $@" >>{tmp_path}/calls', nginx_process.DEFAULT_CONF).start(LogTail([]))
    assert (tmp_path / "calls").read_text().strip() == ("init start" if script else "nginx")


def test_what_does_not_run_cannot_be_reloaded_and_need_not_be_stopped(fake, monkeypatch):
    monkeypatch.setattr(Nginx, "master", lambda _self: None)
    with pytest.raises(MtlsError, match=r"^nginx is not running$"):
        fake("").reload(LogTail([]))
    fake("").stop()


def test_one_that_does_not_end_when_asked_gets_both_signals(fake, monkeypatch):
    sent, master = [], Process(8, 1, 1, TITLE)
    monkeypatch.setattr(nginx_process, "STOP_TIMEOUT", 0.0)
    monkeypatch.setattr(Nginx, "master", lambda _self: master)
    monkeypatch.setattr(nginx_process, "_process", lambda _pid: master)
    monkeypatch.setattr(nginx_process.os, "kill", lambda *args: sent.append(args))
    fake("").stop()
    assert sent == [(8, signal.SIGQUIT), (8, signal.SIGTERM)]


def test_a_reload_that_takes_too_long_is_quoted(fake, tmp_path, monkeypatch):
    old = Process(9, 1, 8, "nginx: worker process")
    monkeypatch.setattr(nginx_process, "RELOAD_TIMEOUT", 0.05)
    monkeypatch.setattr(Nginx, "master", lambda _self: Process(8, 1, 1, TITLE))
    monkeypatch.setattr(Nginx, "workers", lambda *_args: {old})
    monkeypatch.setattr(nginx_process.os, "kill", lambda *_args: None)
    with pytest.raises(MtlsError, match="nginx did not take over the configuration in time: "):
        fake("").reload(LogTail([]))


def test_a_master_that_gives_its_new_workers_up_is_not_waited_for(fake, tmp_path, monkeypatch):
    log = tmp_path / "error.log"
    log.write_text("")
    tail, master = LogTail([str(log)]), Process(8, 1, 1, TITLE)
    monkeypatch.setattr(Nginx, "master", lambda _self: master)
    monkeypatch.setattr(Nginx, "workers", lambda *_args: {Process(9, 1, 8, "nginx: worker process")})
    given_up = "worker process 10 exited with fatal code 2 and cannot be respawned"

    def reload(pid, number):
        assert (pid, number) == (8, signal.SIGHUP)
        log.write_text(f"{WHEN} [alert] 8#8: {given_up}\n")

    monkeypatch.setattr(nginx_process.os, "kill", reload)
    with pytest.raises(nginx_process.DyingWorkersError, match=rf"its new worker processes die: \[alert\] {given_up}$"):
        fake("").reload(tail)


def test_a_program_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(nginx_process, "PROGRAM_DIRS", [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MtlsError, match=r"^there is no program nginx; install nginx, or run mtls\.nginx\.site$"):
        nginx_process.installed("nginx", nginx_process.DEFAULT_CONF)
    path = program(tmp_path / "nginx", "true")
    assert nginx_process.installed("nginx", nginx_process.DEFAULT_CONF).binary == path
