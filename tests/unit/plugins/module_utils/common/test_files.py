# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there completely or not at all."""

from __future__ import annotations

import errno
import os
import pwd
import re
import signal
import stat
import tempfile
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_has_its_mode_from_the_first_byte(tmp_path, monkeypatch):
    seen = []
    real = os.open

    def spy(path, flags, mode=0o777, **options):
        descriptor = real(path, flags, mode, **options)
        if flags & os.O_CREAT:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    old = os.umask(0)
    try:
        files.write_file(tmp_path / "key", b"secret", 0o600)
    finally:
        os.umask(old)
    assert seen == [0o600]
    assert mode_of(tmp_path / "key") == 0o600


def test_the_umask_does_not_take_a_public_file_away(tmp_path):
    old = os.umask(0o077)
    try:
        files.write_file(tmp_path / "crt", b"x", 0o644)
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "crt") == 0o644


def test_create_file_never_overwrites(tmp_path):
    files.create_file(tmp_path / "key", b"one", 0o600)
    with pytest.raises(FileExistsError):
        files.create_file(tmp_path / "key", b"two", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"one"


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path, monkeypatch):
    path = tmp_path / "index.txt"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_file(path, b"new", 0o600)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["index.txt"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyError("serial"), KeyboardInterrupt()])
def test_a_large_file_that_is_not_finished_takes_no_place(tmp_path, error):
    """Whatever stopped it, which arrives as it is; an error of the system names the file that it was about."""
    path = tmp_path / "index.txt"
    path.write_bytes(b"old")

    def write_half():
        with files.replacing(path, 0o600) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        write_half()
    assert caught.value is error
    assert getattr(error, "filename", str(path)) == str(path)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["index.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_signal_leaves_nothing_half_written(tmp_path, monkeypatch, call, done):
    """Python raises what a signal's handler raises between any two steps."""
    path, real = tmp_path / "journal", getattr(os, call)

    def ended(*arguments):
        if done:
            real(*arguments)
        raise MtlsError("the run was ended by SIGTERM")

    monkeypatch.setattr(os, call, ended)
    with pytest.raises(MtlsError, match="ended by SIGTERM"):
        files.write_file(path, b"new", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == (["journal"] if done and call == "replace" else [])


def test_what_a_killed_run_left_behind_is_replaced(tmp_path):
    (tmp_path / ".crt.new").write_bytes(b"half")
    files.write_file(tmp_path / "crt", b"whole", 0o644)
    assert [path.name for path in tmp_path.iterdir()] == ["crt"]


def test_directories_are_made_with_their_mode(tmp_path):
    assert files.make_directory(tmp_path / "a" / "b", 0o700)
    assert not files.make_directory(tmp_path / "a" / "b", 0o700)
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a" / "b") == 0o700


@pytest.fixture
def memory():
    """A folder in memory: on some file systems (btrfs) the kernel's list of locks has other numbers than stat(2)."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield folder


def test_the_lock_is_waited_for_and_names_its_file_and_who_holds_it(memory):
    user = pwd.getpwuid(os.getuid()).pw_name
    began = times.iso(times.process_start(os.getpid()))
    who = rf"/\.lock: another run \(process {os.getpid()} of {user}, since {began}\) is still working in this directory"
    with files.lock(f"{memory}/.lock"):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with files.lock(f"{memory}/.lock", wait=0.05):
                    pass
            except MtlsError as error:
                status = 0 if re.search(who, str(error)) else 2
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    child = os.fork()
    if child == 0:
        with files.lock(tmp_path / ".lock"):
            (tmp_path / "held").touch()
            time.sleep(60)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with files.lock(tmp_path / ".lock", wait=0.5):
        pass


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path):
    for name in (".a.key.new", ".lock", ".hidden", "a.new", "a.key"):
        (tmp_path / name).touch()
    files.remove_unfinished(tmp_path)
    files.remove_unfinished(tmp_path / "missing")
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".hidden", "a.new", "a.key"}


def test_a_directory_that_cannot_be_synced_is_named(tmp_path, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output") as caught:
        files.sync_directory(str(tmp_path))
    assert caught.value.filename == str(tmp_path)


def test_many_directories_at_once_get_their_mode_and_leave_existing_ones_alone(tmp_path):
    (tmp_path / "old").mkdir(mode=0o755)
    files.make_directories([str(tmp_path / name) for name in ("old", "a", "b")], 0o700)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"old": 0o755, "a": 0o700, "b": 0o700}


def test_only_a_regular_file_is_opened(tmp_path):
    file, link, fifo = tmp_path / "file", tmp_path / "link", tmp_path / "fifo"
    file.write_bytes(b"content")
    link.symlink_to(file)
    os.mkfifo(fifo)
    for path, follow in ((file, False), (file, True), (link, True)):
        with files.open_regular(path, follow=follow) as stream:
            assert stream.read() == b"content"
    for path, follow in ((link, False), (fifo, False), (fifo, True), (tmp_path, True), (tmp_path / "none", True)):
        with pytest.raises(OSError, match=re.escape(str(path))):
            files.open_regular(path, follow=follow)


@pytest.mark.parametrize(
    ("size", "since", "expected"),
    [
        (100, 0, [b"one", b"t\fw\ro\xc2\x85", b"three"]),
        (100, 4, [b"t\fw\ro\xc2\x85", b"three"]),
        (100, 5, [b"three"]),
        (5, 0, [b"three"]),
        (4, 0, []),
        (100, 18, []),
        (0, 0, []),
    ],
)
def test_last_lines(tmp_path, size, since, expected):
    log = tmp_path / "log"
    log.write_bytes(b"one\nt\fw\ro\xc2\x85\nthree")
    assert files.last_lines(log, size, since=since) == expected
    assert files.last_lines(tmp_path / "none", size, since=since) == []


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP])
def without_hard_links(request, monkeypatch):
    """What exFAT (EPERM) and some CIFS servers (EOPNOTSUPP) say."""

    def link(source, target):
        raise OSError(request.param, os.strerror(request.param), source, None, target)

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("without_hard_links")
def test_without_hard_links_a_file_is_created_all_the_same_and_never_replaced(tmp_path):
    files.create_file(tmp_path / "a.key", b"first", 0o600)
    with pytest.raises(FileExistsError) as caught:
        files.create_file(tmp_path / "a.key", b"second", 0o600)
    assert caught.value.filename == str(tmp_path / "a.key")
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]
    assert ((tmp_path / "a.key").read_bytes(), mode_of(tmp_path / "a.key")) == (b"first", 0o600)
    (tmp_path / "b.key").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        files.create_file(tmp_path / "b.key", b"first", 0o600)


def test_a_link_that_fails_for_another_reason_is_an_error(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", source, None, target)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="No space"):
        files.create_file(tmp_path / "a.key", b"first", 0o600)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_sync_directories_is_taken_as_it_is(tmp_path, monkeypatch):
    def sync(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", sync)
    files.sync_directory(str(tmp_path))


def test_a_directory_that_another_process_makes_meanwhile_is_there(tmp_path, monkeypatch):
    mkdir = os.mkdir

    def late(path, mode):
        mkdir(path, mode)
        raise FileExistsError(errno.EEXIST, "made by another", path)

    monkeypatch.setattr(os, "mkdir", late)
    assert files.make_directory(tmp_path / "a", 0o700) is False
    monkeypatch.undo()

    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        files.make_directory(tmp_path / "file", 0o700)
    monkeypatch.chdir(tmp_path)
    assert files.make_directory("here", 0o700) is True
