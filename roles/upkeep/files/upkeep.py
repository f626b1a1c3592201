# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timers of mtls.nginx.upkeep start.

Python 3.9 and its standard library, so that it also runs, and tells somebody, when Ansible itself is broken.

    upkeep.py run nightly|weekly     runs the playbooks of that job, and notifies
    upkeep.py ended nightly|weekly   for systemd, after each: notifies of a job that did not come so far
    upkeep.py check                  for the role: refuses settings (JSON on standard input) that could not work, and
                                     prints how the jobs are to be started here

Its folder has the settings (upkeep.json), what was found and told so far (state.json), the job at work (running.json),
and the lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import pwd
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import syslog
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import IO, Any, Callable, TextIO

JOBS = {"nightly": ("refresh_crl", "status"), "weekly": ("site", "status")}
CREDENTIAL = "mtls-vault"
NEVER = "never"
FAILED = 3  # the exit status of a job that failed and has told; an exception of Python's ends with 1
_STOPPED = 128 + signal.SIGTERM  # as a shell says it
_NO_CREDENTIAL = "243"  # systemd.exec(5), "Process Exit Codes"

DAY = 86400
TELL_AGAIN = 7 * DAY
JOB_SECONDS = 4 * 3600  # the unit's TimeoutStartSec is longer: who is stopped here is still told about
RETRY_SECONDS = 600
LOCK_SECONDS = 1800
NOTIFY_SECONDS = 60
WATCHED_LOCK_SECONDS = 60
OUTPUT_BYTES = 64 * 1024
MESSAGE_CHARACTERS = 2000
HOSTS_TOLD = 20

_DUE = "due"  # how the keys of what the status page reports begin
_CRON_WORDS = {"annually": "yearly", "midnight": "daily"}
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_AT = re.compile(r"(?:(?P<day>[A-Z][a-z]{2}) )?(?:\*-\*-\* )?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::00)?")


class Refused(Exception):
    """One line for the user: what cannot work, and what to do."""


# What is to be told


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something to be done. The same `key` is the same event; the first line of `text` says what it is."""

    key: str
    text: str

    @property
    def title(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]


def key_of(what: str, message: str) -> str:
    """Return what tells an event from others: what it is about, and its message without times and processes."""
    return f"{what} {re.sub(r'[0-9]+', '#', message)}"


@dataclasses.dataclass(frozen=True)
class Message:
    """What a notification says, and what has been `told` by it: times by key."""

    subject: str
    text: str
    told: Mapping[str, float]


def message_for(problems: Sequence[Problem], told: Mapping[str, float], now: float) -> Message | None:
    """Return the notification that is due, or None: once per event, again after a week, and an all-clear."""
    where = f"mtls.nginx on {socket.gethostname()}"
    if not problems:
        if not told:
            return None
        return Message(f"{where}: all is well again", "What the last message reported is resolved.", {})
    current = {problem.key for problem in problems}
    if current <= set(told) and now - max(told[key] for key in current) < TELL_AGAIN:
        return None
    count = f"{len(problems)} things to do: " if len(problems) > 1 else ""
    return Message(
        f"{where}: {count}{_shortened(problems[0].title, 150)}",
        "\n\n".join(problem.text for problem in problems),
        dict.fromkeys(current, now),
    )


def notify(command: Sequence[str], message: Message, environment: Mapping[str, str]) -> None:
    """Give subject, blank line and text to the command. Raises Refused when it did not take them."""
    said = f"{_plain(message.subject)}\n\n{message.text}\n"
    with _memory() as output:
        try:
            process = subprocess.Popen(
                list(command),
                cwd="/",
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Refused(f"mtls_notify_command: {command[0]}: {error.strerror}") from error
        try:
            process.communicate(said.encode("utf-8", "replace"), timeout=NOTIFY_SECONDS)
        except subprocess.TimeoutExpired:
            raise Refused(f"mtls_notify_command: {command[0]}: not finished within {NOTIFY_SECONDS} seconds") from None
        finally:
            _end(process)
        if process.returncode != 0:
            output.seek(0)
            words = _plain(output.read(MESSAGE_CHARACTERS).decode(errors="replace")).strip()
            raise Refused(f"mtls_notify_command: {command[0]} ended with {process.returncode}: {words or 'no output'}")


def _memory() -> IO[bytes]:
    """Return a file that needs no disk, which may be what is to be told of; macOS has none."""
    return os.fdopen(os.memfd_create("output"), "w+b") if sys.platform == "linux" else tempfile.TemporaryFile()


def problem_of_failure(playbook: str, outcome: Outcome, by_hand: str) -> Problem:
    """Return what a playbook that failed says, on which hosts."""
    failures = outcome.failures
    if failures:
        hosts = sorted(failures)
        lines = [f"  {host}: {_shortened(failures[host], MESSAGE_CHARACTERS)}" for host in hosts[:HOSTS_TOLD]]
        if len(hosts) > HOSTS_TOLD:
            lines.append(f"  and {len(hosts) - HOSTS_TOLD} more hosts")
        title = f"mtls.nginx.{playbook} failed on {', '.join(hosts[:5])}{' and others' if len(hosts) > 5 else ''}"
        key = " ".join([playbook, *(key_of(host, failures[host]) for host in hosts)])
    else:
        title = f"mtls.nginx.{playbook} failed: {outcome.ending}"
        lines = [f"  {line}" for line in outcome.output.splitlines()[-15:]]
        key = key_of(playbook, outcome.ending)
    return Problem(key, "\n".join([title, *lines, f"Once that is fixed: {by_hand}"]))


def problems_of_status(document: Mapping[str, Any]) -> list[Problem]:
    """Return what the status page says is to be done, in its words."""
    found = []
    for finding in document["findings"]:
        if finding["level"] == "note":
            continue
        about = finding["about"]
        more = f" and {len(about) - HOSTS_TOLD} more" if len(about) > HOSTS_TOLD else ""
        names = f": {', '.join(about[:HOSTS_TOLD])}{more}" if about else ""
        lines = [f"{finding['title']}{names}", finding["remedy"], *([finding["command"]] if finding["command"] else [])]
        key = " ".join([_DUE, finding["kind"], finding["authority"] or "", *about])
        found.append(Problem(key, "\n  ".join(_plain(line) for line in lines)))
    return found


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _shortened(text: str, characters: int) -> str:
    text = _plain(text)
    return text if len(text) <= characters else f"{text[:characters]}…"


# Running playbooks


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run of ansible-playbook ended; `result` is what the collection's summary callback wrote about it."""

    code: int | None  # None: it was stopped
    output: str
    result: Mapping[str, Any]

    @property
    def failures(self) -> Mapping[str, str]:
        """What failed, by host."""
        return self.result.get("failures") or {}

    @property
    def reached(self) -> bool:
        """Whether it did what it should, except on hosts that cannot be reached."""
        away = set(self.result.get("unreachable") or ())
        return self.code == 0 or (bool(away) and set(self.failures) == away != set(self.result["hosts"]))

    @property
    def ending(self) -> str:
        """How the playbook ended, in a sentence."""
        if self.code is None:
            return "it did not finish in time and was stopped"
        said = [line for line in self.output.splitlines() if re.match(r"\[?(ERROR|fatal)|ERROR!", line)]
        return _shortened(said[0], 300) if said else f"ansible-playbook ended with {self.code}"


def environment_of(settings: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return what a person's programs find set, and cron's and a unit's do not."""
    me = pwd.getpwuid(os.getuid())
    person = {"HOME": me.pw_dir, "USER": me.pw_name, "LOGNAME": me.pw_name}
    return {**person, **given, "PATH": settings["path"], "LC_ALL": "C.UTF-8"}  # Ansible needs UTF-8


class Ansible:
    """ansible-playbook as it was when upkeep was installed: its Python, configuration, collections and inventory."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str], vault: str | None) -> None:
        self._settings = settings
        self._environment = {
            **environment_of(settings, environment),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_COLLECTIONS_PATH": ":".join(settings["collections_path"]),
            **({"ANSIBLE_CONFIG": settings["ansible_config"]} if settings["ansible_config"] else {}),
            **({"ANSIBLE_VAULT_PASSWORD_FILE": vault} if vault else {}),
        }

    def arguments(self, playbook: str) -> list[str]:
        """Return the arguments of ansible-playbook for one of the playbooks."""
        hosts = self._settings["hosts"]
        return [
            *(word for source in self._settings["inventory"] for word in ("-i", source)),
            *(["-e", json.dumps({"mtls_hosts": hosts})] if hosts else []),
            f"mtls.nginx.{playbook}",
        ]

    def by_hand(self, playbook: str) -> str:
        """Return the command that a person would type."""
        return shlex.join(["ansible-playbook", *self.arguments(playbook)])

    def play(self, playbook: str, seconds: float, *options: str) -> Outcome:
        """Run a playbook for so many seconds at most."""
        with tempfile.TemporaryDirectory() as folder:
            result = os.path.join(folder, "result.json")
            command = [self._settings["python"], "-m", "ansible", "playbook", *self.arguments(playbook), *options]
            try:
                process = subprocess.Popen(
                    command,
                    cwd="/",
                    env={**self._environment, "MTLS_RESULT_FILE": result},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome(127, f"ERROR! {command[0]}: {error.strerror}; install mtls.nginx.upkeep again", {})
            try:
                output = _last_of(process, seconds)
            finally:
                ended = process.poll() is not None
                _end(process)
            said = _read_json(result)
            return Outcome(process.returncode if ended else None, output, said if isinstance(said, dict) else {})


def _last_of(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Return the end of what a process says until it ends or `seconds` are over.

    Not until its output is closed: a connection that ssh keeps open holds it for longer.
    """
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + seconds
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            if selector.get_map() and selector.select(0 if ended else 0.5):
                chunk = process.stdout.read(OUTPUT_BYTES)
                if chunk:
                    kept = (kept + chunk)[-OUTPUT_BYTES:]
                    continue
                selector.unregister(process.stdout)
            elif ended:
                break
            else:
                time.sleep(0.05)
    return kept.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started in its session."""
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


# A job


class Folder:
    """The files that a job finds and leaves."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = os.path.join(path, "lock")
        self._state = os.path.join(path, "state.json")
        self._watched = os.path.join(path, "watched")
        self._running = os.path.join(path, "running.json")

    def settings(self) -> dict[str, Any]:
        """Return what the role has written."""
        path = os.path.join(self.path, "upkeep.json")
        found = _read_json(path)
        if not isinstance(found, dict):
            raise Refused(f"{path}: cannot be read; install mtls.nginx.upkeep again")
        return found

    def state(self) -> dict[str, Any]:
        """Return what was found and told so far; a damaged file counts as none, so everything is told again."""
        found = _read_json(self._state)
        found = found if isinstance(found, dict) else {}
        return {"problems": found.get("problems") or {}, "told": found.get("told") or {}}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Write down what was found and told."""
        _write_json(self._state, state, 0o600)

    @property
    def watched(self) -> bool:
        """Whether somebody waits for the outcome: the first run after an installation, until one has succeeded."""
        return os.path.exists(self._watched)

    def unwatch(self) -> None:
        """Take away the mark by which the status page expects this job."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._watched)

    @contextlib.contextmanager
    def at_work(self, job: str) -> Iterator[None]:
        """Leave a mark of a job for the time that it runs. The mark of one that was killed, or crashed, stays."""
        with contextlib.suppress(OSError):  # told at the end, by `finish`
            _write_json(self._running, {"job": job, "since": _iso(time.time()), "boot": _boot()}, 0o600)
        try:
            yield
        except (Refused, OSError, SystemExit, KeyboardInterrupt):
            self.forget(job)
            raise
        self.forget(job)

    def forget(self, job: str) -> None:
        """Take a job's mark away, if it is that job's."""
        if self._mark().get("job") == job:
            with contextlib.suppress(OSError):
                os.unlink(self._running)

    def cut_short(self) -> tuple[str, str] | None:
        """Return the job whose mark has stayed, and when it began, unless the machine has been restarted since.

        To be asked by who holds the lock.
        """
        mark = self._mark()
        return (str(mark.get("job")), str(mark.get("since"))) if mark.get("boot") == _boot() else None

    def _mark(self) -> Mapping[str, Any]:
        found = _read_json(self._running)
        return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def locked(path: str, job: str, seconds: float, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of all upkeep jobs. Raises Refused, with who has it, when it is not free within `seconds`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + seconds
        waiting = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another job"
                if time.monotonic() >= deadline:
                    raise Refused(
                        f"{holder} is still running after {seconds:.0f} seconds of waiting; see why"
                    ) from None
                if not waiting:
                    log(f"{job} waits, at most {seconds:.0f} seconds, for {holder}")
                    waiting = True
                time.sleep(0.2)
        user = pwd.getpwuid(os.getuid()).pw_name
        with contextlib.suppress(OSError):  # a disk that is full or read-only; the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{job} of {user} (process {os.getpid()}, since {_iso(time.time())})".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def run(job: str, folder: Folder, log: Callable[[str], None]) -> int:
    """Do a job, once more if it failed, and tell. Return 0, or FAILED where it failed or nobody could be told.

    What is merely to be done (a certificate that expires soon) is told, and no failure.
    """
    watched = folder.watched
    problems: dict[str, list[Problem]] = {}
    settings: dict[str, Any] = {}
    try:
        settings = folder.settings()
        with locked(folder.lock, job, WATCHED_LOCK_SECONDS if watched else LOCK_SECONDS, log):
            tell_of_killed(folder, settings, log)
            with folder.at_work(job):
                vault = vault_password_file(settings, os.environ)
                check_inventory(settings)
                ansible = Ansible(settings, os.environ, vault)
                leave_times(settings, {})
                deadline = time.monotonic() + JOB_SECONDS
                problems = work(job, ansible, settings, deadline, log)
                if not watched and _failures(problems):
                    log(f"{job} failed and is tried again in {RETRY_SECONDS} seconds")
                    time.sleep(RETRY_SECONDS)
                    problems = work(job, ansible, settings, deadline, log)
        problems[job] = []
    except (Refused, OSError) as error:
        problems = {job: [Problem(key_of(job, _words(error)), f"The {job} job cannot run: {_words(error)}")]}
        log(problems[job][0].text)
    if not os.path.isdir(folder.path):
        return 0  # upkeep was removed while this ran
    return finish(job, folder, problems, settings, log)


def ended(job: str, folder: Folder, log: Callable[[str], None], given: Mapping[str, str]) -> int:
    """Tell of a job that could not tell by itself: systemd had no credential for it, or it was killed. Return as `run`.

    `given` has what systemd says of its end (systemd.exec(5), "$EXIT_CODE").
    """
    folder.forget(job)
    result, status = given.get("SERVICE_RESULT", ""), given.get("EXIT_STATUS", "")
    if given.get("EXIT_CODE") == "exited" and status in ("0", str(FAILED)):
        return 0
    if status in ("TERM", str(_STOPPED)) and result != "timeout":
        return 0  # by somebody, or with the machine
    settings = folder.settings()
    if status == _NO_CREDENTIAL:
        why = (
            f"systemd cannot decrypt {settings['vault_credential']}; make it with systemd-creds encrypt "
            f"--name={CREDENTIAL}, on this machine"
        )
    else:
        why = f"it did not finish ({result}, {status}); see journalctl -u mtls-upkeep-{job}"
    problem = Problem(key_of(job, why), f"The {job} job cannot run: {why}")
    log(problem.text)
    return finish(job, folder, {job: [problem]}, settings, log)


def tell_of_killed(folder: Folder, settings: Mapping[str, Any], log: Callable[[str], None]) -> None:
    """Tell of an earlier job that was killed, or crashed, where nothing has: cron says nothing of how a job ends.

    Now, and not at the end: what has killed that one may kill this one.
    """
    if found := folder.cut_short():
        job, since = found
        text = f"The {job} job of {since} was killed, or crashed; the system's log may say why (such as out of memory)"
        problem = Problem(key_of(job, text), text)
        log(problem.text)
        finish(job, folder, {job: [problem]}, settings, log)
        folder.forget(job)


def finish(
    job: str,
    folder: Folder,
    problems: Mapping[str, list[Problem]],
    settings: Mapping[str, Any],
    log: Callable[[str], None],
) -> int:
    """Tell what a job found, and keep it. Return as `run`."""
    # Also who did not get the other lock has something to tell.
    with locked(f"{folder.lock}.tell", job, LOCK_SECONDS, log):
        try:
            folder.keep(folder.state())
        except OSError as error:
            why = f"{_words(error)}; so every job sends it again"
            problem = Problem(key_of(job, why), f"The {job} job cannot record what it has reported: {why}")
            problems = {**problems, job: [*problems.get(job, ()), problem]}
            log(problem.text)
        state, untold = tell(folder, problems, settings, log)
        failed = [problem.text for problem in _failures(problems)] + ([untold] if untold else [])
        with contextlib.suppress(OSError):  # said above
            folder.keep({**state, "failed": {job: "\n".join(failed)}})
    if failed:
        return FAILED
    folder.unwatch()
    return 0


def work(
    job: str, ansible: Ansible, settings: Mapping[str, Any], deadline: float, log: Callable[[str], None]
) -> dict[str, list[Problem]]:
    """Run the job's playbooks, whatever becomes of the first, and return what each found."""
    problems: dict[str, list[Problem]] = {}
    for playbook in JOBS[job]:
        began = time.time()
        outcome = ansible.play(playbook, max(deadline - time.monotonic(), 60))
        status = outcome.result.get("status")
        if playbook == "status" and status:
            problems[playbook] = problems_of_status(_document(status)) if status["due"] else []
            log(f"mtls.nginx.status: {status['summary']}. {status['page']}")
            continue
        if outcome.code == 0:
            problems[playbook] = []
            log(f"mtls.nginx.{playbook}: done in {time.time() - began:.0f} seconds")
        else:
            problems[playbook] = [problem_of_failure(playbook, outcome, ansible.by_hand(playbook))]
            log(f"{outcome.output.rstrip()}\n{problems[playbook][0].text}")
        if outcome.reached:
            leave_times(settings, {playbook: _iso(time.time())})
    return problems


def _document(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _read_json(status["document"])
    if isinstance(found, dict) and "findings" in found:
        return found
    return {
        "findings": [
            {
                "level": "now",
                "kind": "summary",
                "title": status["summary"],
                "about": [],
                "remedy": f"Look at {status['page']}.",
                "command": None,
                "authority": None,
            }
        ]
    }


def _failures(problems: Mapping[str, Sequence[Problem]]) -> list[Problem]:
    """Return what kept the job from its work. What the status page reports is none of it; not to write it is."""
    return [problem for found in problems.values() for problem in found if not problem.key.startswith(f"{_DUE} ")]


def tell(
    folder: Folder,
    problems: Mapping[str, Sequence[Problem]],
    settings: Mapping[str, Any],
    log: Callable[[str], None],
) -> tuple[dict[str, Any], str | None]:
    """Add what a job found to what others did, and notify if that is due.

    Return the state to be kept, and why nobody could be told, or None. What could not be told stays untold, so that the
    next job tries again.
    """
    state = folder.state()
    command = settings.get("notify_command")
    running = [name for name in JOBS if settings.get(name) != NEVER]
    wanted = {source for name in running for source in (name, *JOBS[name])}
    state["problems"] = {
        **{source: found for source, found in state["problems"].items() if source in wanted},
        **{source: [dataclasses.asdict(problem) for problem in found] for source, found in problems.items()},
    }
    current = {
        problem["key"]: Problem(problem["key"], problem["text"])
        for source in state["problems"].values()
        for problem in source
    }
    known = {key: when for key, when in state["told"].items() if key in current or not current}
    message = message_for(list(current.values()), known, time.time())
    if message is None and folder.watched and not current:
        name = socket.gethostname()
        message = Message(f"mtls.nginx on {name}: upkeep is installed", "Its messages come this way.", {})
    state["told"] = known
    failure = None
    if message and command:
        try:
            notify(command, message, environment_of(settings, os.environ))
            state["told"] = dict(message.told)
            log(f"told: {message.subject}")
        except Refused as error:
            failure = str(error)
            log(failure)
    return state, failure


def leave_times(settings: Mapping[str, Any], succeeded: Mapping[str, str]) -> None:
    """Leave what has succeeded, and when, beside the status page, which reports it when that is too long ago."""
    folder = settings["status_dir"]
    path = os.path.join(folder, "upkeep.json")
    found = _read_json(path)
    before = found if isinstance(found, dict) else {}
    times = {
        "warn_days": settings["warn_days"],
        "since": before.get("since") or _iso(time.time()),
        "succeeded": {**(before.get("succeeded") or {}), **succeeded},
    }
    if not os.path.isdir(folder):
        os.makedirs(folder)
        os.chmod(folder, 0o750)
    _write_json(path, times, 0o640)


# Settings that could not work


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings to be installed, and how the jobs are started on this machine.

    Raises Refused for what would fail every night.
    """
    settings = {key: given[key] for key in given if key not in ("folder", "base")}
    for name in ("status_dir", "vault_password_file", "vault_credential"):
        if settings[name]:
            settings[name] = os.path.normpath(os.path.join(given["base"], os.path.expanduser(settings[name])))
    manager = manager_here()
    crons = {}
    for job in JOBS:
        option, expression = f"mtls_upkeep_{job}", settings[job]
        if expression == NEVER:
            continue
        if manager == "cron":
            crons[job] = cron_of(option, expression)
        else:
            check_calendar(option, expression, analyse)
    check_inventory(settings)
    check_only_one(settings, given["folder"])
    if settings["notify_command"]:
        settings["notify_command"] = [notify_program(settings), *settings["notify_command"][1:]]
    if settings["vault_credential"] and manager != "system":
        raise Refused(
            "mtls_upkeep_vault_credential: only root's systemd can decrypt it; set mtls_upkeep_vault_password_file"
        )
    with decrypted(settings) as environment:
        try_unattended(settings, vault_password_file(settings, environment))
    return {"manager": manager, "crons": crons, "python": python_here(), "settings": settings}


def python_here() -> str:
    """Return the Python for this program: the system's, which outlives Ansible's environment, or else this one."""
    python = "/usr/bin/python3"
    question = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"]
    with contextlib.suppress(OSError):
        if subprocess.run(question, check=False).returncode == 0:
            return python
    return sys.executable


def check_only_one(settings: Mapping[str, Any], folder: str) -> None:
    """Raise Refused where upkeep of another inventory is installed."""
    there = _read_json(os.path.join(folder, "upkeep.json"))
    others = there["inventory"] if isinstance(there, dict) else []
    if others != settings["inventory"] and any(map(os.path.exists, others)):
        raise Refused(
            f"upkeep here is for the inventory {', '.join(others)}; remove that first, with -e mtls_upkeep_state=absent"
        )


def manager_here() -> str:
    """Return `system`, `user` or `cron`. Raises Refused where timers could not run."""
    if os.path.isdir("/run/systemd/system"):
        if os.getuid() == 0:
            return "system"
        user = pwd.getpwuid(os.getuid()).pw_name
        if not os.path.exists(f"/var/lib/systemd/linger/{user}"):
            raise Refused(
                f"the timers of {user} would only run while {user} is logged in; run `sudo loginctl enable-linger "
                f"{user}` once, or install upkeep as root"
            )
        return "user"
    if shutil.which("crontab") or (os.getuid() == 0 and os.path.isdir("/etc/cron.d")):
        return "cron"
    raise Refused("neither systemd nor cron runs on this machine; install cron, or start the playbooks from your CI")


def analyse(expression: str) -> str | None:
    """Return when a calendar expression next elapses (`never` for one in the past), or None for none."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", "--", expression], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return None
    found = re.search(r"Next elapse: (.*)", done.stdout)
    return found[1] if found else "never"


def check_calendar(option: str, expression: str, analyse: Callable[[str], str | None]) -> None:
    """Raise Refused for what is no OnCalendar of systemd, with what was probably meant."""
    elapses = analyse(expression)
    if elapses is None:
        suggestion = meant(expression)
        if suggestion is None or analyse(suggestion) is None:
            suggestion = "03:15` or `Mon 04:00"
        raise Refused(f"{option}: {expression!r} is not a calendar event of systemd; write `{suggestion}`")
    if elapses == "never":
        raise Refused(f"{option}: {expression!r} is in the past and would never come; write `03:15` for every night")


def meant(expression: str) -> str | None:
    """Return what an expression in cron's words is in systemd's, or None."""
    expression = expression.strip()
    if expression.startswith("@"):
        word = expression[1:].lower()
        return _CRON_WORDS.get(word, word)
    fields = expression.split()
    if len(fields) != 5:
        return re.sub(r"\*/(?=\d+(:|$))", "0/", expression) if "*/" in expression else None
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        return None  # cron's "or" has no equivalent
    try:
        date = f"*-{_cron_field(month, 1, _MONTHS)}-{_cron_field(day, 1)}"
        clock = f"{_cron_field(hour, 0)}:{_cron_field(minute, 0)}"
        days = "" if weekday == "*" else f"{_cron_weekdays(weekday)} "
    except (ValueError, IndexError):
        return None
    return f"{days}{date} {clock}"


def _cron_field(field: str, first: int, names: Sequence[str] = ()) -> str:
    def number(text: str) -> str:
        return f"{names.index(text.lower()) + 1 if text.lower() in names else int(text):02}"

    parts = []
    for part in field.split(","):
        span, slash, step = part.partition("/")
        low, dash, high = span.partition("-")
        if span == "*":
            parts.append(f"{first}/{int(step)}" if slash else "*")
        else:
            parts.append(number(low) + (f"..{number(high)}" if dash else "") + (f"/{int(step)}" if slash else ""))
    return ",".join(parts)


def _cron_weekdays(field: str) -> str:
    def name(text: str) -> str:
        return _WEEKDAYS[int(text)] if text.isdigit() else text.capitalize()

    return ",".join("..".join(name(day) for day in part.split("-")) for part in field.split(","))


def cron_of(option: str, expression: str) -> str:
    """Return the five fields of cron for what cron can say. Raises Refused."""
    simple = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}
    if expression in simple:
        return simple[expression]
    at = _AT.fullmatch(expression)
    if at and int(at["hour"]) < 24 and int(at["minute"]) < 60 and (not at["day"] or at["day"] in _WEEKDAYS):
        day = str(_WEEKDAYS.index(at["day"])) if at["day"] else "*"
        return f"{int(at['minute'])} {int(at['hour'])} * * {day}"
    raise Refused(f"{option}: {expression!r} is too complex for cron, which is all there is here; write `Mon 04:00`")


def check_inventory(settings: Mapping[str, Any]) -> None:
    """Raise Refused where a job would find no inventory."""
    if not settings["inventory"]:
        raise Refused("no inventory was given; name its file with -i")
    for source in settings["inventory"]:
        if not os.path.exists(source):
            raise Refused(
                f"the inventory {source} is not there any more; bring it back, or install mtls.nginx.upkeep again with"
                " -i and its new path"
            )


def notify_program(settings: Mapping[str, Any]) -> str:
    """Return the path of the program that notifies. Raises Refused where there is none."""
    name = str(settings["notify_command"][0])
    path = shutil.which(name, path=settings["path"])
    if path is None:
        raise Refused(f"mtls_notify_command: {name} is not there or not executable; give the path of a program")
    return os.path.abspath(path)


def vault_password_file(settings: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """Return what ansible-playbook is to read the vault password from, or None. Raises Refused."""
    if settings["vault_credential"]:
        folder = environment.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise Refused("systemd gave no credential; start the job with systemctl start")
        return os.path.join(folder, CREDENTIAL)
    path = settings["vault_password_file"]
    if not path:
        return None
    try:
        status = os.stat(path)
    except OSError as error:
        raise Refused(f"mtls_upkeep_vault_password_file: {path}: {error.strerror}; write the password there") from error
    if status.st_uid not in (0, os.getuid()):
        raise Refused(f"mtls_upkeep_vault_password_file: {path} belongs to somebody else; chown it")
    if status.st_mode & 0o111:
        if status.st_mode & 0o022:
            raise Refused(f"mtls_upkeep_vault_password_file: others may write the program {path}; chmod go-w {path}")
    elif status.st_mode & 0o077:
        raise Refused(f"mtls_upkeep_vault_password_file: others may read {path}; chmod 600 {path}")
    return str(path)


@contextlib.contextmanager
def decrypted(settings: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Return the credential as a unit has it, as an environment; in memory only."""
    source = settings["vault_credential"]
    if not source:
        yield {}
        return
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        try:
            done = subprocess.run(
                ["systemd-creds", "decrypt", f"--name={CREDENTIAL}", source, os.path.join(folder, CREDENTIAL)],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise Refused("mtls_upkeep_vault_credential: needs systemd 250 or newer") from None
        if done.returncode != 0:
            said = _plain(done.stderr).strip()
            raise Refused(
                f"mtls_upkeep_vault_credential: {source} cannot be decrypted ({said}); make it with systemd-creds"
                f" encrypt --name={CREDENTIAL}"
            )
        yield {"CREDENTIALS_DIRECTORY": folder}


def try_unattended(settings: Mapping[str, Any], vault: str | None) -> None:
    """Read the inventory as a timer will, without a terminal and without the caller's environment. Raises Refused."""
    outcome = Ansible(settings, {}, vault).play("status", 600, "--check")
    if outcome.result.get("status"):
        return
    said = " ".join(outcome.failures.values()) or outcome.ending
    if re.search(r"vault secrets? found|vault.*(decrypt|password)|[Dd]ecryption failed", outcome.output):
        if vault is None:
            raise Refused(
                "the timers cannot ask for the vault password; write it to a file that only you can read, and set "
                "mtls_upkeep_vault_password_file, or see docs/upkeep.md for systemd-creds"
            )
        raise Refused(f"the vault cannot be opened with the password given for upkeep: {_shortened(said, 500)}")
    raise Refused(f"the inventory cannot be read without a person: {_shortened(said, 1000)}")


# Small things


def _words(error: Refused | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror}"
    return str(error)


def _boot() -> str:
    """Return what names the time since the machine was started (random(4)), or nothing where the kernel has no name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def _write_json(path: str, value: Any, mode: int) -> None:
    staged = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(staged)
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, mode)
            json.dump(value, stream, indent=1)
            stream.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, staged) from error
    os.replace(staged, path)


def _logger() -> Callable[[str], None]:
    """Return the journal or the terminal; cron would send everything by mail, so there it is the system's log."""
    if "JOURNAL_STREAM" in os.environ or sys.stdout.isatty():
        return lambda text: _say(sys.stdout, text)
    syslog.openlog("mtls-upkeep")

    def log(text: str) -> None:
        for line in text.splitlines():
            syslog.syslog(line)

    return log


def _say(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def _stopped(number: int, frame: object) -> None:
    sys.exit(_STOPPED)


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of one call."""
    signal.signal(signal.SIGTERM, _stopped)
    try:
        if list(arguments) == ["check"]:
            _say(sys.stdout, json.dumps(check(json.load(sys.stdin))))
            return 0
        if len(arguments) == 2 and arguments[0] in ("run", "ended") and arguments[1] in JOBS:
            folder = Folder(os.path.dirname(os.path.abspath(__file__)))
            if arguments[0] == "run":
                return run(arguments[1], folder, _logger())
            return ended(arguments[1], folder, _logger(), os.environ)
    except (Refused, OSError) as error:
        _say(sys.stderr, _words(error))
        return 1
    _say(sys.stderr, f"usage: upkeep.py run|ended {'|'.join(JOBS)}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
