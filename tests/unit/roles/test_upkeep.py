# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program behind upkeep's timers: what it tells and when, what it refuses, and how it runs other programs.

In the place of Ansible's Python is a shell script that ends as the test wants; tests/integration has the real one.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.roles.upkeep.files import upkeep

PROGRAM = Path(__file__).parents[3] / "roles" / "upkeep" / "files" / "upkeep.py"
NOW = 1_800_000_000.0
A = upkeep.Problem("a", "A is broken\n  mend it")
B = upkeep.Problem("b", "B is broken")


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def is_running(pid: int) -> bool:
    """Whether it still runs a moment later; one that nobody has taken leave of does not."""
    status = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and status.exists() and status.read_text().split()[2] != "Z":
        time.sleep(0.05)
    return time.monotonic() >= deadline


class Home:
    """An installation: its folder, an inventory, a notify command that keeps what it gets, and an ansible."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "upkeep"
        self.path.mkdir()
        self.status = folder / "inventory" / "status"
        self.inventory = folder / "inventory" / "hosts.yml"
        self.inventory.parent.mkdir()
        self.inventory.write_text("")
        self.messages = folder / "messages"
        self.messages.mkdir()
        self.notify = executable(folder / "notify", f"cat >{self.messages}/$$; sleep 0")
        self.ansible = executable(folder / "python", "exit 0")
        self.settings = {
            "python": str(self.ansible),
            "path": os.environ["PATH"],
            "ansible_config": "",
            "collections_path": ["/collections"],
            "inventory": [str(self.inventory)],
            "hosts": "",
            "status_dir": str(self.status),
            "nightly": "03:15",
            "weekly": "Sun 04:15",
            "vault_password_file": "",
            "vault_credential": "",
            "warn_days": 3,
            "notify_command": [str(self.notify)],
        }
        self.log: list[str] = []

    def results(self, **results: dict) -> None:
        """What each playbook says, and its exit code as `code`; the others succeed."""
        lines = []
        for playbook, result in results.items():
            code = result.pop("code", 0)
            said = json.dumps({"hosts": ["nas"], "failures": {}, "unreachable": [], "status": None, **result})
            lines.append(f"*mtls.nginx.{playbook}*) cat >$MTLS_RESULT_FILE <<'END'\n{said}\nEND\nexit {code};;")
        executable(self.ansible, 'case "$*" in\n' + "\n".join(lines) + "\nesac")

    def run(self, job: str = "nightly") -> int:
        (self.path / "upkeep.json").write_text(json.dumps(self.settings))
        return upkeep.run(job, upkeep.Folder(str(self.path)), self.log.append)

    @property
    def succeeded(self) -> dict[str, str]:
        path = self.status / "upkeep.json"
        return json.loads(path.read_text())["succeeded"] if path.exists() else {}

    @property
    def told(self) -> list[str]:
        """The messages so far, and forget them."""
        found = [path.read_text() for path in sorted(self.messages.iterdir(), key=lambda path: path.stat().st_mtime_ns)]
        for path in self.messages.iterdir():
            path.unlink()
        return found


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0)
    return Home(tmp_path)


FAILED = {"code": 2, "failures": {"nas": "the disk is full"}}


# When something is told


def test_nothing_to_do_and_nothing_told_is_no_message():
    assert upkeep.message_for([], {}, NOW) is None


def test_an_event_is_told_once_and_again_after_a_week():
    first = upkeep.message_for([A], {}, NOW)
    assert first.told == {"a": NOW}
    assert "A is broken" in first.subject
    assert "mend it" in first.text
    assert upkeep.message_for([A], first.told, NOW + 6.9 * 86400) is None
    assert upkeep.message_for([A], first.told, NOW + 7 * 86400).told == {"a": NOW + 7 * 86400}


def test_another_event_is_told_at_once_with_what_is_still_to_do():
    message = upkeep.message_for([A, B], {"a": NOW}, NOW + 60)
    assert "2 things to do" in message.subject
    assert "A is broken" in message.text
    assert "B is broken" in message.text
    assert message.told == {"a": NOW + 60, "b": NOW + 60}


def test_one_event_less_is_no_message_and_none_left_is_an_all_clear():
    assert upkeep.message_for([A], {"a": NOW, "b": NOW}, NOW + 60) is None
    clear = upkeep.message_for([], {"a": NOW}, NOW + 60)
    assert "all is well again" in clear.subject
    assert clear.told == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("still works after 120 seconds (process 17)", "still works after 121 seconds (process 4711)", True),
        ("the disk is full", "the port is in use", False),
    ],
)
def test_numbers_in_a_message_make_no_other_event(one, other, same):
    assert (upkeep.key_of("site", one) == upkeep.key_of("site", other)) is same


@pytest.mark.parametrize(("one", "other", "same"), [("web-1", "web-2", False), ("web-1", "web-1", True)])
def test_another_host_is_another_event(one, other, same):
    keys = [
        upkeep.problem_of_failure("site", upkeep.Outcome(2, "", {"failures": {host: "full"}}), "").key
        for host in (one, other)
    ]
    assert (keys[0] == keys[1]) is same


@pytest.mark.parametrize(("one", "other", "same"), [("phone-1", "phone-2", False), ("phone-1", "phone-1", True)])
def test_another_client_is_another_event(one, other, same):
    finding = {"level": "soon", "kind": "client_soon", "title": "", "remedy": "", "command": None, "authority": "/pki"}
    ((first,), (second,)) = (
        upkeep.problems_of_status({"findings": [{**finding, "about": [name]}]}) for name in (one, other)
    )
    assert (first.key == second.key) is same


# A job


def test_a_job_that_succeeds_leaves_its_time_and_says_nothing(home):
    assert home.run() == 0
    assert home.told == []
    left = json.loads((home.status / "upkeep.json").read_text())
    assert left["warn_days"] == 3
    assert "refresh_crl" in left["succeeded"]
    assert (home.status / "upkeep.json").stat().st_mode & 0o777 == 0o640
    assert home.status.stat().st_mode & 0o777 == 0o750


def test_a_failing_run_is_tried_twice_told_once_and_then_cleared(home):
    home.results(refresh_crl=dict(FAILED))
    assert home.run() == upkeep.FAILED
    assert sum("is tried again" in line for line in home.log) == 1
    (message,) = home.told
    subject, empty, *text = message.splitlines()
    assert subject.startswith("mtls.nginx on ")
    assert subject.endswith("mtls.nginx.refresh_crl failed on nas")
    assert empty == ""
    assert "  nas: the disk is full" in text
    assert f"Once that is fixed: ansible-playbook -i {home.inventory} mtls.nginx.refresh_crl" in text
    assert "refresh_crl" not in home.succeeded

    assert home.run() == upkeep.FAILED
    assert home.told == []

    home.results()
    assert home.run() == 0
    (message,) = home.told
    assert "all is well again" in message.splitlines()[0]


def test_what_is_mended_before_the_second_try_is_not_told(home):
    mark = home.path / "tried"
    executable(home.ansible, f"case $* in *refresh_crl*) [ -e {mark} ] || {{ touch {mark}; exit 2; }};; esac")
    assert home.run() == 0
    assert home.told == []


def test_somebody_who_watches_does_not_wait_for_a_second_try(home, monkeypatch):
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 3600)
    (home.path / "watched").write_text("")
    home.results(refresh_crl=dict(FAILED))
    assert home.run() == upkeep.FAILED
    assert (home.path / "watched").exists()
    assert "the disk is full" in json.loads((home.path / "state.json").read_text())["failed"]["nightly"]


def test_the_first_run_that_succeeds_shows_how_messages_come(home):
    (home.path / "watched").write_text("")
    assert home.run() == 0
    (message,) = home.told
    assert "upkeep is installed" in message
    assert not (home.path / "watched").exists()
    assert home.run() == 0
    assert home.told == []


def test_what_the_status_page_reports_is_told_in_its_words_and_is_no_failure(home):
    home.status.mkdir()
    document = home.status / "status.json"
    finding = {
        "level": "soon",
        "kind": "client_soon",
        "title": "Clients whose certificate ends soon",
        "about": ["phone (2026-12-01)"],
        "remedy": "The next run that finds it due renews it.",
        "command": "ansible-playbook -i hosts.yml mtls.nginx.site",
        "authority": "/pki",
    }
    note = {**finding, "level": "note", "kind": "unmanaged", "title": "Valid certificates of nobody"}
    document.write_text(json.dumps({"findings": [finding, note]}))
    status = {"due": True, "summary": "1 client: …", "page": "status.html", "document": str(document)}
    home.results(status={"code": 2, "failures": {"nas": "1 client"}, "status": status})
    assert home.run() == 0
    (message,) = home.told
    assert "Clients whose certificate ends soon: phone (2026-12-01)\n  The next run" in message
    assert "  ansible-playbook -i hosts.yml mtls.nginx.site" in message
    assert "of nobody" not in message


@pytest.mark.parametrize(
    ("hosts", "unreachable", "reached"),
    [(["nas", "web"], ["web"], True), (["nas", "web"], ["nas", "web"], False), (["nas"], [], False)],
)
def test_a_host_that_is_off_is_told_and_does_not_stop_the_clock_of_the_others(home, hosts, unreachable, reached):
    failures = dict.fromkeys(unreachable, "it cannot be reached") or {"nas": "full"}
    home.results(
        refresh_crl={"code": 4, "hosts": hosts, "failures": failures, "unreachable": unreachable},
    )
    assert home.run() == upkeep.FAILED
    assert len(home.told) == 1
    assert ("refresh_crl" in home.succeeded) is reached


def test_each_job_tells_only_what_is_left_of_all(home):
    home.results(site=dict(FAILED))
    assert home.run("weekly") == upkeep.FAILED
    assert "mtls.nginx.site failed on nas" in home.told[0]
    home.results()
    assert home.run("nightly") == 0
    assert home.told == []
    assert home.run("weekly") == 0
    assert "all is well again" in home.told[0]


def test_a_job_that_is_never_to_run_again_leaves_nothing_to_do(home):
    home.results(site=dict(FAILED))
    assert home.run("weekly") == upkeep.FAILED
    assert len(home.told) == 1
    home.settings["weekly"] = "never"
    assert home.run("nightly") == 0
    assert "all is well again" in home.told[0]


@pytest.mark.parametrize("script", ["echo no route; exit 3", "sleep 60"])
def test_a_message_that_could_not_be_sent_is_sent_by_the_next_run(home, monkeypatch, script):
    monkeypatch.setattr(upkeep, "NOTIFY_SECONDS", 0.5)
    home.results(refresh_crl=dict(FAILED))
    good = home.settings["notify_command"]
    home.settings["notify_command"] = [str(executable(home.path.parent / "bad", script))]
    began = time.monotonic()
    assert home.run() == upkeep.FAILED
    assert time.monotonic() - began < 20
    assert any("mtls_notify_command: " in line for line in home.log)
    home.settings["notify_command"] = good
    assert home.run() == upkeep.FAILED
    assert len(home.told) == 1


def test_the_command_finds_what_its_owner_would_find(home, monkeypatch, tmp_path):
    for name in ("HOME", "PATH", "LC_ALL"):
        monkeypatch.delenv(name, raising=False)
    executable(Path(home.settings["notify_command"][0]), f'echo "$HOME $PATH $LC_ALL" >{tmp_path}/environment')
    home.results(refresh_crl=dict(FAILED))
    home.run()
    assert (tmp_path / "environment").read_text() == f"{Path('~').expanduser()} {home.settings['path']} C.UTF-8\n"


def test_an_all_clear_that_could_not_be_sent_is_sent_by_the_next_run(home):
    home.results(refresh_crl=dict(FAILED))
    home.run()
    assert len(home.told) == 1
    good, home.settings["notify_command"] = home.settings["notify_command"], ["/nowhere/notify"]
    home.results()
    assert home.run() == upkeep.FAILED
    home.settings["notify_command"] = good
    assert home.run() == 0
    assert "all is well again" in home.told[0]


def test_a_run_without_end_is_stopped_with_all_that_it_has_started(home, monkeypatch):
    child = home.path / "child"
    executable(home.ansible, f"sleep 300 & echo $! >{child}; wait")
    ansible = upkeep.Ansible(home.settings, {}, None)
    began = time.monotonic()
    outcome = ansible.play("site", 0.5)
    assert time.monotonic() - began < 5
    assert outcome.code is None
    assert "did not finish in time" in upkeep.problem_of_failure("site", outcome, "").title
    assert not is_running(int(child.read_text()))


def test_a_connection_that_is_kept_open_holds_nothing_up(home):
    executable(home.ansible, "sleep 30 & echo $! >$0.pid; echo done")
    began = time.monotonic()
    outcome = upkeep.Ansible(home.settings, {}, None).play("site", 20)
    os.kill(int(Path(f"{home.ansible}.pid").read_text()), 15)
    assert time.monotonic() - began < 5
    assert (outcome.code, outcome.output) == (0, "done\n")


def test_only_the_end_of_a_long_output_is_kept(home):
    executable(home.ansible, "seq 1 200000; echo the end; exit 2")
    outcome = upkeep.Ansible(home.settings, {}, None).play("site", 60)
    assert len(outcome.output) <= upkeep.OUTPUT_BYTES
    assert outcome.output.endswith("the end\n")
    assert "the end" in upkeep.problem_of_failure("site", outcome, "").text


def test_an_ansible_that_is_gone_is_told(home):
    home.ansible.unlink()
    assert home.run() == upkeep.FAILED
    assert "No such file or directory; install mtls.nginx.upkeep again" in home.told[0]


def test_an_inventory_that_vanished_is_told_before_anything_runs(home):
    home.inventory.unlink()
    assert home.run() == upkeep.FAILED
    assert f"the inventory {home.inventory} is not there any more; bring it back" in home.told[0]
    assert f"the inventory {home.inventory} is not there any more" in home.log[0]
    assert not home.status.exists()


def test_the_second_of_two_jobs_waits_and_says_for_whom(home, monkeypatch):
    monkeypatch.setattr(upkeep, "LOCK_SECONDS", 0.5)
    script = (
        f"import time; from {upkeep.__name__} import locked\n"
        f"with locked({str(home.path / 'lock')!r}, 'weekly', 1, print):\n  print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert home.run() == upkeep.FAILED
    finally:
        holder.kill()
        holder.wait()
    who = rf"weekly of \w+ \(process {holder.pid}, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)"
    assert home.log[0].startswith("nightly waits, at most 0 seconds, for weekly of ")
    (message,) = home.told
    assert re.search(who, home.log[0])
    assert re.search(f"{who} is still running after", message)
    assert home.run() == 0


def test_upkeep_that_was_removed_meanwhile_leaves_nothing(home):
    executable(home.ansible, f"rm -rf {home.path}")
    assert home.run() == 0
    assert not home.path.exists()


def test_what_cannot_be_noted_is_told_every_time(home):
    (home.path / "state.json.new").mkdir()
    for _time in range(2):
        assert home.run() == upkeep.FAILED
        (message,) = home.told
        assert (
            f"The nightly job cannot record what it has reported: {home.path}/state.json.new: Is a directory" in message
        )
    assert "refresh_crl" in home.succeeded
    (home.path / "state.json.new").rmdir()
    assert home.run() == 0


@pytest.mark.parametrize(
    ("result", "code", "status", "said"),
    [
        ("exit-code", "exited", "243", "systemd cannot decrypt /etc/mtls-vault.cred; make it with systemd-creds"),
        ("oom-kill", "killed", "KILL", "it did not finish (oom-kill, KILL); see journalctl -u mtls-upkeep-weekly"),
        ("timeout", "killed", "TERM", "it did not finish (timeout, TERM)"),
        ("timeout", "exited", "143", "it did not finish (timeout, 143)"),
        ("exit-code", "exited", "1", "it did not finish (exit-code, 1)"),  # a traceback
        ("success", "exited", "0", None),
        ("exit-code", "exited", str(upkeep.FAILED), None),  # and has told
        ("exit-code", "exited", "143", None),  # by systemctl stop
        ("signal", "killed", "TERM", None),
    ],
)
def test_a_job_that_could_not_tell_is_told_by_systemd(home, result, code, status, said):
    home.settings["vault_credential"] = "/etc/mtls-vault.cred"
    (home.path / "upkeep.json").write_text(json.dumps(home.settings))
    given = {"SERVICE_RESULT": result, "EXIT_CODE": code, "EXIT_STATUS": status}
    for messages in (1, 0) if said else (0,):
        ended = upkeep.ended("weekly", upkeep.Folder(str(home.path)), home.log.append, given)
        assert ended == (upkeep.FAILED if said else 0)
        told = home.told
        assert len(told) == messages
        assert all(f"The weekly job cannot run: {said}" in message for message in told)


def killed(home: Home, how: str = "KILL") -> None:
    """A weekly job that is killed by a signal while Ansible runs."""
    (home.path / "upkeep.json").write_text(json.dumps(home.settings))
    program = home.path / PROGRAM.name
    shutil.copy(PROGRAM, program)
    ansible = home.ansible.read_text()
    executable(home.ansible, f"kill -{how} $PPID; sleep 0.2")
    done = subprocess.run(
        [sys.executable, "-I", str(program), "run", "weekly"],
        env={**os.environ, "JOURNAL_STREAM": "0:0"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if how == "KILL" else 128 + signal.SIGTERM)
    home.ansible.write_text(ansible)


def test_a_job_that_was_killed_is_told_when_the_next_one_starts(home):
    home.settings["nightly"] = "04:00"
    killed(home)
    assert home.told == []
    executable(home.ansible, f"test -s {home.messages}/*")  # it is told before anything else may be killed
    assert home.run("nightly") == 0
    (message,) = home.told
    said = "The weekly job of 20..-..-..T..:..:..Z was killed, or crashed; the system's log may say why"
    assert re.search(said, message)
    executable(home.ansible, "exit 0")
    assert home.run("nightly") == 0
    assert home.told == []  # once, until that job succeeds
    assert home.run("weekly") == 0
    (message,) = home.told
    assert "all is well again" in message


def test_a_job_that_crashed_is_told_by_the_next_one(home, monkeypatch):
    def work(*_arguments):
        raise AssertionError

    monkeypatch.setattr(upkeep, "work", work)
    with pytest.raises(AssertionError):
        home.run("nightly")
    monkeypatch.undo()
    home.run("nightly")
    assert "The nightly job of " in home.told[0]


@pytest.mark.parametrize("why", ["by somebody", "with the machine", "systemd has told"])
def test_a_job_that_was_stopped_or_is_told_already_is_not_told_by_the_next_one(home, monkeypatch, why):
    if why == "by somebody":
        killed(home, "TERM")
    else:
        killed(home)
    if why == "with the machine":
        monkeypatch.setattr(upkeep, "_boot", lambda: "another")
    if why == "systemd has told":
        given = {"SERVICE_RESULT": "oom-kill", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}
        folder = upkeep.Folder(str(home.path))
        assert upkeep.ended("nightly", folder, home.log.append, given) == upkeep.FAILED  # of the other job
        assert folder.cut_short()
        assert upkeep.ended("weekly", folder, home.log.append, given) == upkeep.FAILED
        assert len(home.told) == 2
    assert home.run("nightly") == 0
    assert home.told == []


# What is refused


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("@daily", "daily"),
        ("@midnight", "daily"),
        ("@annually", "yearly"),
        ("0 3 * * *", "*-*-* 03:00"),
        ("*/15 * * * *", "*-*-* *:0/15"),
        ("30 4 * * 0", "Sun *-*-* 04:30"),
        ("30 4 * * 7", "Sun *-*-* 04:30"),
        ("0 2 * * mon-fri", "Mon..Fri *-*-* 02:00"),
        ("0 0 1 jan,jul *", "*-01,07-01 00:00"),
        ("*/6:00", "0/6:00"),
    ],
)
def test_a_calendar_in_crons_words_is_refused_with_what_was_meant(written, meant):
    with pytest.raises(upkeep.Refused) as refused:
        upkeep.check_calendar("mtls_upkeep_nightly", written, upkeep.analyse)
    assert str(refused.value) == (
        f"mtls_upkeep_nightly: {written!r} is not a calendar event of systemd; write `{meant}`"
    )
    upkeep.check_calendar("mtls_upkeep_nightly", meant, upkeep.analyse)


@pytest.mark.parametrize("written", ["tomorrow-ish", "0 3 1 * 1", "@reboot", "", "1 2 3 4 x", "99 3 * * *", "--help"])
def test_any_other_is_refused_with_an_example(written):
    with pytest.raises(upkeep.Refused, match=r"write `03:15` or `Mon 04:00`"):
        upkeep.check_calendar("mtls_upkeep_nightly", written, upkeep.analyse)


def test_a_calendar_in_the_past_is_refused():
    with pytest.raises(upkeep.Refused, match="would never come"):
        upkeep.check_calendar("mtls_upkeep_weekly", "2020-01-01 03:00", upkeep.analyse)


@pytest.mark.parametrize(
    ("calendar", "cron"),
    [
        ("03:15", "15 3 * * *"),
        ("Sun 04:15", "15 4 * * 0"),
        ("Sat *-*-* 04:05:00", "5 4 * * 6"),
        ("daily", "0 0 * * *"),
        ("weekly", "0 0 * * 1"),
    ],
)
def test_the_same_for_cron(calendar, cron):
    assert upkeep.analyse(calendar)
    assert upkeep.cron_of("mtls_upkeep_nightly", calendar) == cron


@pytest.mark.parametrize("calendar", ["Mon..Fri 03:00", "25:00", "Xyz 03:00", "0/6:00"])
def test_what_cron_cannot_do_is_refused(calendar):
    with pytest.raises(upkeep.Refused, match=r"is too complex for cron.*write `Mon 04:00`"):
        upkeep.cron_of("mtls_upkeep_nightly", calendar)


@pytest.mark.parametrize(
    ("mode", "refused"),
    [(0o600, None), (0o400, None), (0o640, "others may read"), (0o755, None), (0o775, "others may write the program")],
)
def test_the_vaults_password_is_for_its_owner_alone(home, tmp_path, mode, refused):
    path = tmp_path / "vault"
    path.write_text("secret")
    path.chmod(mode)
    settings = {**home.settings, "vault_password_file": str(path)}
    if refused is None:
        assert upkeep.vault_password_file(settings, {}) == str(path)
        return
    with pytest.raises(upkeep.Refused, match=refused):
        upkeep.vault_password_file(settings, {})


def test_a_vault_password_that_is_gone_or_somebody_elses_is_refused(home, tmp_path):
    settings = {**home.settings, "vault_password_file": str(tmp_path / "vault")}
    with pytest.raises(upkeep.Refused, match=r"vault: No such file or directory; write the password there"):
        upkeep.vault_password_file(settings, {})
    (tmp_path / "vault").write_text("secret")
    (tmp_path / "vault").chmod(0o600)
    if os.getuid() == 0:
        os.chown(tmp_path / "vault", 65534, 65534)
        with pytest.raises(upkeep.Refused, match="belongs to somebody else"):
            upkeep.vault_password_file(settings, {})


def test_a_credential_comes_from_systemd_alone(home):
    settings = {**home.settings, "vault_credential": "/etc/credstore.encrypted/mtls-vault"}
    assert upkeep.vault_password_file(settings, {"CREDENTIALS_DIRECTORY": "/run/c"}) == "/run/c/mtls-vault"
    with pytest.raises(upkeep.Refused, match="systemctl start"):
        upkeep.vault_password_file(settings, {})


def test_a_notify_command_that_is_not_there_is_refused(home):
    home.settings["notify_command"] = ["no-such-program", "--now"]
    with pytest.raises(upkeep.Refused, match="mtls_notify_command: no-such-program is not there"):
        upkeep.notify_program(home.settings)
    home.settings["notify_command"] = ["cat"]
    assert upkeep.notify_program(home.settings).endswith("/cat")


def test_upkeep_of_another_inventory_is_not_replaced_in_silence(home):
    other = home.inventory.with_name("other.yml")
    other.write_text("")
    (home.path / "upkeep.json").write_text(json.dumps({"inventory": [str(other)]}))
    with pytest.raises(upkeep.Refused, match=r"upkeep here is for the inventory .*other\.yml; remove that first"):
        upkeep.check_only_one(home.settings, str(home.path))
    other.unlink()
    upkeep.check_only_one(home.settings, str(home.path))


def test_the_password_is_in_no_argument(home, tmp_path):
    ansible = upkeep.Ansible(home.settings, {}, "/secret/vault")
    assert not any("vault" in word for word in ansible.arguments("site"))


def test_it_is_python_3_9_with_its_standard_library():
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


# All of it, as the role asks


STATUS = {"due": False, "summary": "", "page": "", "document": ""}


@pytest.fixture
def given(home, monkeypatch) -> dict:
    """The settings as the role gives them, on a machine with systemd, where an unattended run would work."""
    monkeypatch.setattr(upkeep, "manager_here", lambda: "system")
    home.results(status={"status": STATUS})
    return {**home.settings, "folder": str(home.path), "base": str(home.inventory.parent)}


def test_relative_paths_start_at_the_inventorys_directory(home, given):
    (home.inventory.parent / "vault").write_text("secret")
    (home.inventory.parent / "vault").chmod(0o600)
    found = upkeep.check(
        {**given, "vault_password_file": "vault", "status_dir": "status", "notify_command": ["cat", "-n"]}
    )
    assert found["settings"]["vault_password_file"] == str(home.inventory.parent / "vault")
    assert found["settings"]["status_dir"] == str(home.status)
    assert found["settings"]["notify_command"][0].endswith("/cat")
    assert set(found["settings"]) == set(home.settings)
    assert (found["manager"], found["crons"]) == ("system", {})


def test_where_there_is_only_cron_the_jobs_are_for_cron(given, monkeypatch):
    monkeypatch.setattr(upkeep, "manager_here", lambda: "cron")
    assert upkeep.check({**given, "weekly": "never"})["crons"] == {"nightly": "15 3 * * *"}
    with pytest.raises(upkeep.Refused, match="mtls_upkeep_vault_credential: only root's systemd can decrypt it"):
        upkeep.check({**given, "vault_credential": "/etc/mtls-vault.cred"})


@pytest.mark.parametrize(
    ("setting", "value", "refused"),
    [
        ("nightly", "@daily", r"mtls_upkeep_nightly: '@daily' is not a calendar event of systemd; write `daily`"),
        ("notify_command", ["/nowhere/notify"], r"mtls_notify_command: /nowhere/notify is not there"),
        ("inventory", ["/nowhere/hosts.yml"], r"the inventory /nowhere/hosts.yml is not there any more"),
        ("inventory", [], r"no inventory was given"),
        ("vault_password_file", "/nowhere/vault", r"/nowhere/vault: No such file or directory"),
    ],
)
def test_each_mistake_is_one_message_before_ansible_is_tried(home, given, setting, value, refused):
    home.ansible.unlink()
    with pytest.raises(upkeep.Refused, match=refused) as raised:
        upkeep.check({**given, setting: value})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "vault", "refused"),
    [
        ("[ERROR]: Attempting to decrypt but no vault secrets found.", False, "the timers cannot ask for the vault"),
        ("[ERROR]: Decryption failed (no vault secrets were found that could decrypt).", True, "cannot be opened with"),
        ("[ERROR]: Syntax error in hosts.yml", False, r"cannot be read without a person: \[ERROR\]: Syntax error"),
    ],
)
def test_an_inventory_that_a_timer_could_not_read_is_refused(home, given, said, vault, refused):
    executable(home.ansible, f"echo '{said}'; exit 1")
    if vault:
        (home.inventory.parent / "vault").write_text("wrong")
        (home.inventory.parent / "vault").chmod(0o600)
        given["vault_password_file"] = "vault"
    with pytest.raises(upkeep.Refused, match=refused):
        upkeep.check(given)


def test_the_trial_has_nothing_of_the_callers_environment(home, given, monkeypatch, tmp_path):
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "/only/here")
    script = home.ansible.read_text().replace("#!/bin/sh", f"#!/bin/sh\nenv >{tmp_path}/environment")
    home.ansible.write_text(script)
    upkeep.check(given)
    assert "/only/here" not in (tmp_path / "environment").read_text()


def test_a_folder_that_cannot_be_written_is_one_message(home):
    home.status.write_text("a file in its place")
    assert home.run() == upkeep.FAILED
    (message,) = home.told
    assert f"The nightly job cannot run: {home.status}: File exists" in message
