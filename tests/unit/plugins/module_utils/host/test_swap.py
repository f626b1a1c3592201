# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import signal
import threading

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.swap import NewFile, Swap
from ansible_collections.mtls.nginx.tests.trees import tree

# What a swap does to the file system: it may be killed before any of these.
CALLS = ("link", "replace", "unlink", "mkdir", "rmdir", "fsync", "open")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conf.d").mkdir()
    for name, mode in {"conf.d/changed.conf": 0o640, "conf.d/removed.conf": 0o644, "key": 0o600}.items():
        path = tmp_path / name
        path.write_text(f"old {name}")
        path.chmod(mode)
    (tmp_path / "link").symlink_to("key")
    return tmp_path


def new_files(folder):
    return [
        NewFile(str(folder / "conf.d/changed.conf"), b"new", 0o644),
        NewFile(str(folder / "conf.d/removed.conf"), None, 0),
        NewFile(str(folder / "conf.d/created.conf"), b"new", 0o644),
        NewFile(str(folder / "deep/er/created.pem"), b"new", 0o600),
        NewFile(str(folder / "key"), b"new", 0o600),
        NewFile(str(folder / "link"), b"new", 0o644),
    ]


def contents(folder):
    return {name: (entry.mode & 0o7777, entry.content) for name, entry in tree(folder).items()}


WANTED = {
    "conf.d": (0o755, b""),
    "conf.d/changed.conf": (0o644, b"new"),
    "conf.d/created.conf": (0o644, b"new"),
    "deep": (0o755, b""),
    "deep/er": (0o755, b""),
    "deep/er/created.pem": (0o600, b"new"),
    "key": (0o600, b"new"),
    "link": (0o644, b"new"),
}


def complete(folder):
    change = Swap(str(folder))
    change.apply(new_files(folder))
    change.decide()
    change.finish()


def test_files_are_replaced_and_nothing_else_is_left(folder):
    complete(folder)
    assert contents(folder) == WANTED
    assert not Swap(str(folder)).unfinished


def test_modes_do_not_depend_on_the_umask(folder):
    before = os.umask(0o077)
    try:
        change = Swap(str(folder))
        change.apply(new_files(folder))
        change.decide()
        change.finish()
    finally:
        os.umask(before)
    assert contents(folder)["conf.d/created.conf"] == (0o644, b"new")


def test_undo_brings_back_the_very_same_files(folder):
    before = tree(folder)
    change = Swap(str(folder))
    change.apply(new_files(folder))
    change.undo()
    assert change.unfinished, "nginx may have read the new files"
    change.finish()
    assert tree(folder) == before
    assert not Swap(str(folder)).unfinished


def decide_and_leave_the_old_files(folder, monkeypatch):
    change = Swap(str(folder))
    change.apply(new_files(folder))
    with monkeypatch.context() as patched:
        failing(patched, "unlink", 0)
        change.decide_unread()


def test_files_that_nginx_cannot_read_now_stay_and_what_lies_beside_them_goes_later(folder, monkeypatch):
    decide_and_leave_the_old_files(folder, monkeypatch)
    assert ".link.mtls-old" in contents(folder)
    later = Swap(str(folder))
    assert later.unfinished
    later.undo()
    assert later.unfinished, "nginx has not read the new files"
    later.finish()
    assert contents(folder) == WANTED


def test_what_lies_beside_them_goes_also_where_the_next_swap_is_of_others(folder, monkeypatch):
    decide_and_leave_the_old_files(folder, monkeypatch)
    later = Swap(str(folder))
    later.undo()
    later.apply([NewFile(str(folder / "other"), b"new", 0o644)])
    later.decide()
    later.finish()
    assert contents(folder) == {**WANTED, "other": (0o644, b"new")}
    assert not later.unfinished


def test_nothing_lies_beside_files_that_nginx_cannot_read_now(folder):
    change = Swap(str(folder))
    change.apply(new_files(folder))
    change.decide_unread()
    assert contents(folder).keys() - {swap.JOURNAL} == WANTED.keys()


def test_when_nginx_need_not_be_asked_again(folder, monkeypatch):
    """It has read what is in place: the new files, or none of them was put there."""
    with monkeypatch.context() as patched:
        failing(patched, "link", 1)
        change = Swap(str(folder))
        with pytest.raises(OSError, match="No space left"):
            change.apply(new_files(folder))
    assert Swap(str(folder)).unfinished  # else nobody would know what lies there
    change.undo()
    assert not change.unfinished
    change.apply(new_files(folder))
    change.decide()
    later = Swap(str(folder))
    later.undo()
    assert not later.unfinished
    assert contents(folder) == WANTED
    later.apply([NewFile(str(folder / "key"), None, 0)])
    assert json.loads((folder / swap.JOURNAL).read_text())["unread"] is False


def test_what_lies_there_without_a_journal_is_not_in_the_way(folder):
    for name in ("old", "new"):
        (folder / f".key.mtls-{name}").write_text("left")
    complete(folder)
    assert contents(folder) == WANTED


def test_files_hidden_for_a_moment(folder):
    before = tree(folder)
    paths = [str(folder / name) for name in ("key", "conf.d/created.conf")]
    change = Swap(str(folder))
    assert not change.holds([])
    change.apply(new_files(folder))
    assert change.holds([new.path for new in new_files(folder)])
    assert not change.holds([*paths, str(folder / "other")])
    with change.hidden(paths):
        assert not any(map(os.path.exists, paths))
    assert contents(folder)["key"] == WANTED["key"]
    with pytest.raises(MtlsError, match="nginx died"), change.hidden(paths):
        raise MtlsError("nginx died")
    assert contents(folder)["conf.d/created.conf"] == WANTED["conf.d/created.conf"]
    change.undo()
    with change.hidden(paths[:1]):
        assert not os.path.exists(paths[0])
    change.finish()
    assert tree(folder) == before


@pytest.mark.parametrize("undone", [False, True])
def test_killed_while_files_are_hidden(folder, undone):
    before = tree(folder)
    change = Swap(str(folder))
    change.apply(new_files(folder))
    if undone:
        change.undo()
    with contextlib.suppress(FileNotFoundError), change.hidden([str(folder / "key")]):
        recover(folder)
        assert tree(folder) == before


def test_nothing_follows_before_what_it_needs_is_durable(folder, monkeypatch):
    """After a power cut the journal tells the truth: what it names is on the disk, and stays until that is decided."""
    happened = []

    def noted(name, what):
        function = getattr(os, name)

        def wrapped(*args, **kwargs):
            happened.append((name, what(*args)))
            return function(*args, **kwargs)

        monkeypatch.setattr(os, name, wrapped)

    def synced(handle):
        path = os.readlink(f"/proc/self/fd/{handle}")
        return path if os.fstat(handle).st_size or os.path.isdir(path) else f"nothing yet of {path}"

    noted("fsync", synced)
    noted("replace", lambda _source, path: path)
    noted("unlink", lambda path: path)
    journal, conf_d = str(folder / swap.JOURNAL), ("fsync", str(folder / "conf.d"))
    wanted = new_files(folder)[:3]

    def last(*events):
        return max(number for number, event in enumerate(happened) if event in events)

    def is_durable(before):
        changes = [n for n, (name, path) in enumerate(happened[:before]) if name != "fsync" and "conf.d" in path]
        return conf_d in happened[max(changes, default=0) : before]

    for undone in (True, False):
        happened.clear()
        change = Swap(str(folder))
        change.apply(wanted)
        swapping = last(("replace", journal))
        assert {("fsync", swap._new(wanted[n].path)) for n in (0, 2)} | {conf_d} <= set(happened[:swapping])
        assert is_durable(len(happened))
        if undone:
            change.undo()
            assert is_durable(len(happened))
        else:
            change.decide()
        change.finish()
        assert is_durable(last(("unlink", journal)))


def test_undo_leaves_a_folder_that_is_used_meanwhile(folder):
    change = Swap(str(folder))
    change.apply(new_files(folder))
    (folder / "deep" / "guest").write_text("")
    change.undo()
    assert sorted(path.name for path in (folder / "deep").iterdir()) == ["guest"]


def failing(monkeypatch, name, number):
    """Let one call of a file system function fail for want of space; the result says whether it came to that."""
    function, calls = getattr(os, name), itertools.count()

    def wrapped(*args, **kwargs):
        if next(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), args[0] if isinstance(args[0], str) else None)
        return function(*args, **kwargs)

    monkeypatch.setattr(os, name, wrapped)
    return lambda: next(calls) > number


def applied(change, folder):
    """Return the file that could not be written, None where all were."""
    try:
        change.apply(new_files(folder))
    except OSError as error:
        return error.filename
    return None


@pytest.mark.parametrize("name", ["link", "replace", "unlink", "mkdir", "fsync", "open"])
def test_every_failure_can_be_undone(folder, name):
    before = tree(folder)
    for number in itertools.count():
        with pytest.MonkeyPatch.context() as patch:
            came_to_it = failing(patch, name, number)
            change = Swap(str(folder))
            failed = applied(change, folder)
            if not came_to_it():
                break
            assert failed, f"{name} number {number} failed, and the swap went on, or named no file"
        if change.unfinished:
            change.undo()
        if change.unfinished:
            change.finish()
        assert tree(folder) == before, f"after failure of {name} number {number}"
    assert number


def in_child_killed_at(number, work):
    """Do something in a child process that is killed before its n-th file system call; False if it got to its end."""
    pid = os.fork()
    if pid == 0:
        calls = itertools.count()

        def deadly(function):
            def wrapped(*args, **kwargs):
                if next(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return wrapped

        for name in CALLS:
            setattr(os, name, deadly(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


def recover(folder):
    change = Swap(str(folder))
    if change.unfinished:
        change.undo()
    if change.unfinished:
        change.finish()


@pytest.mark.slow
def test_killed_anywhere_it_is_undone_or_done(folder):
    before, old = tree(folder), contents(folder)
    for number in itertools.count():
        if not in_child_killed_at(number, lambda: complete(folder)):
            break
        recover(folder)
        found = contents(folder)
        stray = {name for name in found if name not in old and name not in WANTED}
        # A journal that was not yet in place has a temporary neighbour, which the next one overwrites.
        assert stray <= {f".{swap.JOURNAL}.new"}, f"killed before call {number}"
        if found.get("key") == WANTED["key"]:
            assert {name: entry for name, entry in found.items() if name not in stray} == WANTED
            break
        assert {name: entry for name, entry in tree(folder).items() if name not in stray} == before
    assert number > 30


@pytest.mark.slow
def test_killed_while_undoing_it_is_undone_by_the_next(folder):
    before = tree(folder)
    for number in itertools.count():
        Swap(str(folder)).apply(new_files(folder))
        killed = in_child_killed_at(number, lambda: recover(folder))
        recover(folder)
        assert tree(folder) == before, f"killed before call {number}"
        if not killed:
            break
    assert number > 10


def test_pending_reload_survives_the_next_swap(folder):
    first = Swap(str(folder))
    first.apply(new_files(folder))
    second = Swap(str(folder))
    second.undo()
    second._save(swap._PREPARING)
    third = Swap(str(folder))
    third.undo()
    assert third.unfinished


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"state": "swapping", "existed": 1, "directories": [], "unread": false}']
)
def test_foreign_journal(folder, content):
    (folder / swap.JOURNAL).write_text(content)
    with pytest.raises(MtlsError, match="not the journal of an interrupted run"):
        Swap(str(folder))


def test_journal_holds_no_content(folder):
    Swap(str(folder)).apply(new_files(folder))
    record = json.loads((folder / swap.JOURNAL).read_text())
    assert set(record) == {"state", "existed", "directories", "unread"}
    assert (folder / swap.JOURNAL).stat().st_mode & 0o777 == 0o600


def test_a_file_gets_its_owner_and_takes_no_others_place(folder, monkeypatch):
    owners = []
    monkeypatch.setattr(os, "fchown", lambda _descriptor, *owner: owners.append(owner))
    swap._write(str(folder / "new"), b"new", 0o640, (12, 34))
    swap._write(str(folder / "other"), b"new", 0o640, None)
    assert owners == [(12, 34)]
    with pytest.raises(FileExistsError):  # a link that somebody put there would lead elsewhere
        swap._write(str(folder / "link"), b"new", 0o644, None)
    assert (folder / "key").read_text() == "old key"


def test_who_comes_second_waits(folder):
    first = contextlib.ExitStack()
    first.enter_context(swap.exclusive(str(folder)))
    timer = threading.Timer(0.2, first.close)
    timer.start()
    with swap.exclusive(str(folder)):
        timer.join()


def test_only_one_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(swap, "_LOCK_TIMEOUT", 0.1)
    before = tree(folder)
    held = r"another run.* is changing this host's nginx"
    with swap.exclusive(str(folder)), pytest.raises(MtlsError, match=held), swap.exclusive(str(folder)):
        pass
    with swap.exclusive(str(folder)):
        assert tree(folder) == before
