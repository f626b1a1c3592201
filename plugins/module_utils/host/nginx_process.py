# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's nginx: its program, the instance that runs with one configuration file, starting and reloading it.

Processes are read from /proc: a host is a Linux host.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf

DEFAULT_CONF = "/etc/nginx/nginx.conf"
INIT_SCRIPT = "/etc/init.d/nginx"
UNIT = "nginx.service"
# Where packages put the program, besides the places on a login PATH.
PROGRAM_DIRS = ["/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin"]

# A rejected reload is seen at once in nginx's error log; this is for a host whose log cannot be read. nginx needs
# 15 s for a CRL of a million entries, well under a second for a hundred thousand.
RELOAD_TIMEOUT = 30.0
START_TIMEOUT = 15.0
STOP_TIMEOUT = 10.0
COMMAND_TIMEOUT = 120.0
# So long new workers are watched, from when they are first seen: those that are going to die of their configuration do
# so at once. nginx itself needs half of it before it tells the old ones to go.
SETTLE_TIME = 0.2
_FIRST_POLL, _POLL = 0.02, 0.05
_TITLE_TIMEOUT = 3.0

_NGINX = "nginx:"
_MASTER = "nginx: master process"
_WORKER = "nginx: worker process"
_LEAVING = "is shutting down"
# From its start: further on there may be what a caller has sent, such as a Referer.
_LOG_LINE = re.compile(
    r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?P<level>emerg|alert|crit)\] (?P<pid>\d+)#\d+: (?P<text>[^\n]*)"
)
# Some builds put the date before the level, and the process after it.
_PROBLEM = re.compile(r"^.*?\[(emerg|alert|crit|error|warn)\] (?:\d+#\d+: )?(.*)$", re.MULTILINE)
# What a certificate of the CA's name and another key leaves behind: each probe shows one. It says nothing of nginx.
STALE = b"ignoring stale global SSL error"
# nginx tries a taken port five times, half a second apart, before it gives up.
_RETRIED = re.compile(r"bind\(\) to .* failed \(98")
# The master's words about a worker whose configuration no worker can use (ngx_reap_children).
_NOT_RESPAWNED = re.compile(r"worker process \d+ exited with fatal code \d+ and cannot be respawned")
# … and about one that it starts again at once, for ever. An old one may crash on leaving, once.
_CRASHED = re.compile(r"worker process \d+ exited on signal \d+")
_MANY_CRASHES = 20
_LONGEST_TAIL = 65536
_LONGEST_START = 8192
_MOST_QUOTED = 10
_SILENCE = "its error log gives no reason"


class Process(NamedTuple):
    """A process: ``started``, in clock ticks since boot, tells it from a later one with the same pid.

    It stays the same one when it changes its title.
    """

    pid: int
    started: int
    parent: int
    title: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and self[:3] == other[:3]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:3])


class Verdict(NamedTuple):
    """What ``nginx -t`` said.

    ``problems`` are its lines of level warn and above, such as "[emerg] unknown directive …".
    """

    accepted: bool
    problems: tuple[str, ...]


class Compiled(NamedTuple):
    """Paths compiled into the program; ``error_log`` may be the word stderr. ``ssi``: whether it has that module."""

    conf_path: str
    error_log: str
    pid_path: str
    prefix: str
    ssi: bool


class LogTail:
    """What is added to nginx's error logs from now on."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._starts = {path: self._stat(path) for path in paths}

    def lines(self) -> list[re.Match[str]]:
        """Return the new lines of level crit and above, as matches with the groups level, pid and text."""
        found = []
        for path, start in self._starts.items():
            inode, size = self._stat(path)
            since = start[1] if inode == start[0] and size >= start[1] else 0
            lines = files.last_lines(path, _LONGEST_TAIL, since=since)
            found += [_LOG_LINE.match(line.decode("utf-8", "replace")) for line in lines if STALE not in line]
        return [match for match in found if match]

    def quote(self) -> str:
        """Return the new lines in nginx's words, without repetitions."""
        lines = dict.fromkeys(f"[{line['level']}] {_nginx_words(line['text'])}" for line in self.lines())
        return "; ".join(list(lines)[:_MOST_QUOTED])

    @staticmethod
    def _stat(path: str) -> tuple[int, int]:
        try:
            status = os.lstat(path)
        except OSError:
            return 0, 0
        return status.st_ino, status.st_size


class DyingWorkersError(MtlsError):
    """nginx accepted a configuration, and the worker processes that should serve with it ended at once."""


class Nginx:
    """The nginx at ``binary``, with the instance that runs with ``conf_path``.

    With the package's own configuration file the platform's service manager starts it (systemd where it runs, else the
    init script), with any other the program itself.
    """

    def __init__(self, binary: str, conf_path: str) -> None:
        self.binary = binary
        self.conf_path = conf_path
        self._known: Process | None = None
        self._foreign: set[int] = set()
        self._scanned: list[Process] | None = None  # all of nginx's processes, as long as nothing was done to them
        self._retried = False  # systemd was about to start it by itself

    @property
    def conf_dir(self) -> str:
        """Return the folder of the configuration file."""
        return os.path.dirname(self.conf_path)

    # What is installed

    def version(self) -> str:
        """Return the version, for example 1.22.1.

        :raises MtlsError: the program is not nginx.
        """
        match = re.search(r"nginx version: [^/]+/(\d+(?:\.\d+)+)", self._build)
        if match is None:
            said = self._build.strip()
            raise MtlsError(f"{self.binary} does not look like nginx: '{self.binary} -V' answers: {said}")
        return match[1]

    @functools.cached_property
    def _build(self) -> str:
        return run([self.binary, "-V"]).output

    @functools.cached_property
    def compiled(self) -> Compiled:
        """Return the paths compiled into the program."""
        options = dict(re.findall(r"--([a-z-]+)=('[^']*'|\S+)", self._build))
        prefix = options.get("prefix", "/usr/local/nginx")

        def path(option: str, default: str) -> str:
            value = options.get(option, default)
            return value if value == "stderr" else os.path.join(prefix, value)

        return Compiled(
            conf_path=path("conf-path", "conf/nginx.conf"),
            error_log=path("error-log-path", "logs/error.log"),
            pid_path=path("pid-path", "logs/nginx.pid"),
            prefix=prefix,
            ssi="without-http_ssi_module" not in self._build,
        )

    def test(self, conf_path: str | None = None, extra: str | None = None) -> Verdict:
        """Ask nginx about a configuration file, its own by default; ``extra`` has more main-level directives."""
        command = [self.binary, "-t", "-q", "-c", conf_path or self.conf_path]
        result = run([*command, "-g", extra] if extra else command)
        problems = dict.fromkeys(f"[{line[1]}] {line[2]}" for line in _PROBLEM.finditer(result.output))
        if result.code and not problems:
            problems = {result.output.strip() or f"{self.binary} ended with status {result.code}": None}
        return Verdict(result.code == 0, tuple(problems))

    # What runs

    def master(self) -> Process | None:
        """Return the master process of the instance that was started with our configuration file, or None."""
        # To look at one process is cheap, to look through all of them is not.
        known = _process(self._known.pid) if self._known else None
        if known is None or known != self._known or not known.title.startswith(_MASTER):
            self._known = self._find_master()
        return self._known

    def _find_master(self) -> Process | None:
        self._scanned = list(_processes(_NGINX))
        masters = [process for process in self._scanned if process.title.startswith(_MASTER)]
        found = [process for process in masters if self._is_ours(process)]
        # Masters that were started with another configuration file, and say so: their workers are no strangers.
        self._foreign = {each.pid for each in masters if each not in found and " -c" in each.title}
        if len(found) > 1:
            # A worker has its master's title for an instant; during an upgrade of the program there are two masters.
            pid = self._pid_from_file()
            pids = {process.pid for process in found}
            named = [process for process in found if process.pid == pid]
            found = named or [process for process in found if process.parent not in pids]
        return found[0] if found else None

    def workers(self, master: Process) -> set[Process]:
        """Return the master's workers that accept connections: those that are shutting down do not count."""
        return {
            process
            for process in _processes(_WORKER)
            if process.parent == master.pid and not process.title.endswith(_LEAVING)
        }

    def strangers(self) -> list[Process]:
        """Return the workers that accept connections on our sockets, and are not the master's.

        While the program is upgraded there is another master (nginx.org/en/docs/control.html, "Upgrading executable"),
        and one that was killed leaves workers. A reload reaches neither.
        """
        master = self.master()
        if master is None:
            return []
        processes, self._scanned = self._scanned or _processes(_WORKER), None
        others = [
            process
            for process in processes
            if process.title.startswith(_WORKER)
            and process.parent != master.pid
            and process.parent not in self._foreign
            and not process.title.endswith(_LEAVING)
        ]
        if not others:
            return []
        # An upgrade may have begun since the master was looked for.
        self._known = master = self._find_master()
        self._scanned = None
        others = [process for process in others if master and process.parent != master.pid]
        # Only here: most hosts have but one nginx.
        from ansible_collections.mtls.nginx.plugins.module_utils.host import ports

        ours = ports.listeners() & ports.socket_inodes(master.pid) if master else set()
        return [
            process
            for process in others
            if master
            and (ours & sockets if (sockets := ports.socket_inodes(process.pid)) else _is_kin(process, master))
        ]

    def upgrade(self, timeout: float = 0.0) -> str | None:
        """Wait up to ``timeout`` seconds for ``strangers`` to end; say who still answers with an old configuration.

        None where nobody does.
        """
        deadline = time.monotonic() + timeout
        while True:
            strangers = self.strangers()
            if not strangers:
                return None
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL)
        parents = filter(None, map(_process, {process.parent for process in strangers}))
        old = [process.pid for process in parents if process.title.startswith(_MASTER)]
        if old:
            pids = _pids(old)
            return (
                f"a binary upgrade of nginx is under way: the worker processes of the old master process {pids} still"
                " answer, with the configuration that they had before, and let in who was revoked since."
                f" End it with 'kill -QUIT {pids}', and run again"
            )
        pids = _pids(process.pid for process in strangers)
        return (
            f"worker processes without a master ({pids}) still answer on nginx's sockets, with the configuration that"
            f" they had before, and let in who was revoked since. End them with 'kill -QUIT {pids}', and run again"
        )

    def error_logs(self, configuration: nginx_conf.Configuration) -> list[str]:
        """Return the files in which nginx says why it cannot use a configuration."""
        values = [
            statement.directive.values[0]
            for statement in configuration.find("error_log", ())
            if statement.directive.args
        ]
        paths = [
            os.path.join(self.compiled.prefix, value) if not value.startswith("/") else value
            for value in values or [self.compiled.error_log]
            if value != "stderr" and not value.startswith(("syslog:", "memory:"))
        ]
        master = self.master()
        if master is not None:
            paths += [path for path in [_link(f"/proc/{master.pid}/fd/2")] if path and os.path.isfile(path)]
            paths = [_behind_link(path, master) for path in paths]
        return list(dict.fromkeys(paths))

    # What changes it

    def reload(self, log: LogTail, settle: float = SETTLE_TIME) -> None:
        """Have nginx read its configuration, and wait until new workers serve and no old ones do.

        New workers are watched for ``settle`` seconds.

        :raises MtlsError: it keeps its old workers, with nginx's words (a taken port, a file that only the running
        nginx cannot read).
        :raises DyingWorkersError: the new workers die.
        """
        master = self.master()
        if master is None:
            raise MtlsError("nginx is not running")
        self._scanned = None
        before = self.workers(master)
        if self._is_unit(master):
            self._call(["systemctl", "reload", UNIT], log)
        else:
            _signal(master, signal.SIGHUP)
        self._wait(before, log, RELOAD_TIMEOUT, "nginx did not take over the configuration", settle)

    def restart(self, log: LogTail) -> None:
        """Stop nginx and start it anew.

        :raises MtlsError: it does not start, with nginx's words.
        """
        self.stop()
        self.start(log)

    def start(self, log: LogTail) -> None:
        """Start nginx and wait until its workers serve.

        :raises MtlsError: it does not start, with nginx's words.
        """
        self._scanned = None
        if self.conf_path != DEFAULT_CONF:
            self._call([self.binary, "-c", self.conf_path], log)
        elif systemd_runs() and _unit_property("LoadState") == "loaded":
            self._retried = self._is_awaited()
            # After five failures in ten seconds systemd would refuse, in the words of the last one.
            run(["systemctl", "reset-failed", UNIT])
            # To start what systemd is about to start is to wait for it.
            self._call(["systemctl", "restart" if self._retried else "start", UNIT], log)
        elif os.access(INIT_SCRIPT, os.X_OK):
            self._call([INIT_SCRIPT, "start"], log)
        else:
            self._call([self.binary], log)
        self._wait(set(), log, START_TIMEOUT, "nginx did not start")

    def stop(self) -> None:
        """Stop a running instance, for example after a start that failed."""
        master = self.master()
        if self._is_unit(master) if master else self._is_awaited():
            run(["systemctl", "stop", UNIT])
            if self._retried:
                run(["systemctl", "start", "--no-block", UNIT])
            return
        if master is None:
            return
        for number in (signal.SIGQUIT, signal.SIGTERM):
            _signal(master, number)
            deadline = time.monotonic() + STOP_TIMEOUT
            while time.monotonic() < deadline:
                if _process(master.pid) != master:
                    return
                time.sleep(_POLL)

    def _is_ours(self, master: Process) -> bool:
        for link in ("ns/pid", "root"):
            theirs = _link(f"/proc/{master.pid}/{link}")
            if theirs is not None and theirs != _link(f"/proc/self/{link}"):
                return False  # in a container or a chroot of its own
        options = dict(re.findall(r"\s-([cp])\s*(\S+)", master.title[len(_MASTER) :]))
        if "c" not in options:
            program = _link(f"/proc/{master.pid}/exe")
            # After an upgrade of the package the running program's file is gone.
            if program is not None and program.replace(" (deleted)", "") != os.path.realpath(self.binary):
                return False
            if "p" not in options and self.conf_path == DEFAULT_CONF:
                return True
        elif options["c"] == self.conf_path:
            return True
        conf_path = options.get("c") or self.compiled.conf_path
        prefix = options.get("p") or self.compiled.prefix
        return os.path.realpath(os.path.join(prefix, conf_path)) == os.path.realpath(self.conf_path)

    def _pid_from_file(self) -> int | None:
        try:
            configuration = nginx_conf.load(self.conf_path)
            statements = [statement for statement in configuration.find("pid", ()) if statement.directive.args]
            value = statements[0].directive.values[0] if statements else self.compiled.pid_path
            with open(os.path.join(self.compiled.prefix, value), encoding="ascii") as handle:
                return int(handle.read())
        except (OSError, ValueError):
            return None

    def _is_unit(self, master: Process) -> bool:
        return self.conf_path == DEFAULT_CONF and systemd_runs() and _unit_property("MainPID") == str(master.pid)

    def _is_awaited(self) -> bool:
        """Tell whether systemd is about to start it again, after a failure."""
        return self.conf_path == DEFAULT_CONF and systemd_runs() and _unit_property("ActiveState") == "activating"

    def _call(self, command: Sequence[str], log: LogTail) -> None:
        result = run(command)
        if result.code:
            words = log.quote() or "; ".join(result.output.split("\n")).strip("; ")
            raise MtlsError(f"'{' '.join(command)}' failed with status {result.code}: {words or 'it gives no reason'}")

    def _wait(
        self, before: set[Process], log: LogTail, timeout: float, failure: str, settle: float = SETTLE_TIME
    ) -> None:
        deadline, pause = time.monotonic() + timeout, _FIRST_POLL
        new: set[Process] = set()
        seen = 0.0
        while True:
            master = self.master()
            workers = self.workers(master) if master else set()
            if workers - before != new:
                new, seen = workers - before, time.monotonic()
            if new and not workers & before:
                time.sleep(max(0.0, seen + settle - time.monotonic()))
                if master and new <= self.workers(master):
                    return
                raise _dying(failure, log)
            if not new and master and _is_given_up(master, log):
                raise _dying(failure, log)
            if master is None:  # dead, or not yet known by its title
                deadline = min(deadline, time.monotonic() + _TITLE_TIMEOUT)
            elif _refused(master, log):
                raise MtlsError(f"{failure}: {log.quote()}")
            if time.monotonic() > deadline:
                raise MtlsError(f"{failure} in time: {log.quote() or _SILENCE}")
            time.sleep(pause)
            pause = min(1.5 * pause, _POLL)


class CommandResult(NamedTuple):
    """A command's exit status, and its output and error output together."""

    code: int
    output: str


def run(command: Sequence[str]) -> CommandResult:
    """Run a command to its end.

    :raises MtlsError: it cannot be run, or does not end.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    # Not a pipe: a started nginx may keep its error output open, and its end would never be seen.
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                timeout=COMMAND_TIMEOUT,
                check=False,
                start_new_session=True,
            ).returncode
        except OSError as error:
            raise MtlsError(f"cannot run {command[0]}: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise MtlsError(f"'{' '.join(command)}' did not finish within {COMMAND_TIMEOUT:.0f} seconds") from None
        output.seek(0)
        return CommandResult(code, output.read().decode("utf-8", "replace"))


def installed(binary: str, conf_path: str) -> Nginx:
    """Return the nginx with that name or path, for a program that no Ansible has started.

    :raises MtlsError: there is none.
    """
    program = shutil.which(binary, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *PROGRAM_DIRS]))
    if program is None:
        raise MtlsError(f"there is no program {binary}; install nginx, or run mtls.nginx.site")
    return Nginx(program, conf_path)


def systemd_runs() -> bool:
    """Tell whether systemd is the host's service manager right now (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def init_script() -> str | None:
    """Return the path of nginx's init script, if there is one that can be run."""
    return INIT_SCRIPT if os.access(INIT_SCRIPT, os.X_OK) else None


def _unit_property(name: str) -> str:
    return run(["systemctl", "show", "--property", name, "--value", UNIT]).output.strip()


def _processes(title: str) -> Iterator[Process]:
    for name in os.listdir("/proc"):
        process = _process(int(name)) if name.isdigit() else None
        if process is not None and process.title.startswith(title):
            yield process


def _process(pid: int) -> Process | None:
    """Return a living process, or None; one that has ended but was not yet waited for has no command line."""
    try:
        title = _start_of(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
        if not title.startswith(_NGINX):
            return None
        # proc_pid_stat(5): the fields after the name in parentheses; the parent is the 4th, the start the 22nd.
        fields = _start_of(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return Process(pid, int(fields[19]), int(fields[1]), title)


def _start_of(path: str) -> bytes:
    """Return what a file of /proc begins with, with as few calls as can be: a host may have thousands of processes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST_START)
    finally:
        os.close(descriptor)


def _is_kin(worker: Process, master: Process) -> bool:
    """Tell whether an upgrade of the program connects a worker with a master that is not its own.

    For processes whose sockets may not be seen: the old master has started the new one.
    """
    parent = _process(worker.parent)
    return parent is not None and (parent.pid == master.parent or parent.parent == master.pid)


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _behind_link(path: str, master: Process) -> str:
    """Return the path of a log behind a symbolic link, if nginx itself has that file open; else the link.

    A link is not read: whoever may write in the log folder could have made it.
    """
    if not os.path.islink(path):
        return path
    real, folder = os.path.realpath(path), f"/proc/{master.pid}/fd"
    try:
        opened = {_link(f"{folder}/{name}") for name in os.listdir(folder)}
    except OSError:
        return path
    return real if real in opened else path


def _pids(pids: Iterable[int]) -> str:
    return " ".join(map(str, sorted(pids)))


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise MtlsError(
            f"not permitted to signal nginx (process {process.pid}): run as its owner, usually with become: true"
        ) from None


def _nginx_words(text: str) -> str:
    """Return a line of the error log without what it says of a request, which the caller sent."""
    return text.partition(", client: ")[0]


def _dying(failure: str, log: LogTail) -> DyingWorkersError:
    return DyingWorkersError(f"{failure}: its new worker processes die: {log.quote() or _SILENCE}")


def _is_given_up(master: Process, log: LogTail) -> bool:
    """Tell whether the master has said that its workers end at once: it starts them no more, or ever again."""
    said = [line["text"] for line in log.lines() if int(line["pid"]) == master.pid]
    return any(map(_NOT_RESPAWNED.match, said)) or sum(map(bool, map(_CRASHED.match, said))) > _MANY_CRASHES


def _refused(master: Process, log: LogTail) -> bool:
    return any(
        line["level"] == "emerg" and int(line["pid"]) == master.pid and not _RETRIED.match(line["text"])
        for line in log.lines()
    )
