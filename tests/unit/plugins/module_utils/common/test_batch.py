# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that become durable together: in which order, and what is left when something fails."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import batch as batches
from ansible_collections.mtls.nginx.plugins.module_utils.common import files

MANY = 100


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the disk, in order; the file system is one that can be synced as a whole."""
    made: list[str] = []

    def noted(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            made.append(name)
            return real(*arguments, **options)

        return call

    for name in ("fsync", "replace", "link"):
        monkeypatch.setattr(os, name, noted(name))
    monkeypatch.setattr(batches, "_file_system_sync", lambda directory: lambda descriptor: made.append("sync all"))
    return made


def test_many_files_wait_for_the_disk_twice(tmp_path, calls):
    batch = batches.Batch(str(tmp_path), MANY)
    for number in range(MANY):
        (batch.create if number % 2 else batch.write)(str(tmp_path / f"{number}.crt"), b"%d" % number, 0o644)
    assert not calls
    batch.commit()
    assert (calls[0], calls[-1]) == ("sync all", "sync all")
    assert sorted(calls[1:-1]) == ["link"] * (MANY // 2) + ["replace"] * (MANY // 2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        f"{number}.crt": b"%d" % number for number in range(MANY)
    }


def test_a_few_files_are_synced_one_by_one(tmp_path, calls):
    batch = batches.Batch(str(tmp_path), 2)
    for name in ("crt", "key"):
        batch.write(str(tmp_path / name), b"x", 0o600)
    batch.commit()
    assert calls == ["fsync", "fsync", "replace", "replace", "fsync"]


def test_nothing_is_in_its_place_before_and_the_status_is_that_of_the_file(tmp_path):
    path = tmp_path / "key"
    batch = batches.Batch(str(tmp_path), MANY)
    told = batch.create(str(path), b"secret", 0o600)
    assert not path.exists()
    batch.commit()
    found = path.stat()
    assert (told.st_size, told.st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_a_file_that_must_not_be_replaced_stays_and_nothing_else_is_left(tmp_path):
    (tmp_path / "key").write_bytes(b"old")
    batch = batches.Batch(str(tmp_path), MANY)
    for name in ("a", "key", "b"):
        batch.create(str(tmp_path / name), b"new", 0o600)
    with pytest.raises(FileExistsError):
        batch.commit()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "key": b"old"}
    batch.commit()  # has nothing left to do


def test_a_disk_that_does_not_keep_them_is_an_error_that_names_the_directory(tmp_path, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(batches, "_file_system_sync", lambda directory: broken)
    batch = batches.Batch(str(tmp_path), MANY)
    batch.write(str(tmp_path / "crt"), b"x", 0o644)
    with pytest.raises(OSError, match="Input/output") as caught:
        batch.commit()
    assert caught.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_to_go_goes_when_the_rest_is_durable(tmp_path, calls, monkeypatch):
    (tmp_path / "key").write_bytes(b"secret")
    monkeypatch.setattr(files, "remove_file", lambda path: calls.append(f"remove {os.path.basename(path)}"))
    batch = batches.Batch(str(tmp_path), MANY)
    batch.write(str(tmp_path / "p12"), b"x", 0o600)
    batch.remove(str(tmp_path / "key"))
    assert batch.removes(str(tmp_path / "key"))
    batch.commit()
    assert calls == ["sync all", "replace", "sync all", "remove key"]


@pytest.mark.parametrize(
    ("mount", "release", "whole"),
    [
        ("ext4", "6.1.0-18-amd64", True),
        ("xfs", "5.8.0", True),
        ("fuse.s3fs", "6.1.0", False),
        ("nfs4", "6.1.0", False),
        ("ext4", "5.4.0-150-generic", False),  # its syncfs reports no errors
        ("ext4", "unknown", False),
    ],
)
def test_a_whole_file_system_is_synced_only_where_that_is_known_to_do_it(tmp_path, monkeypatch, mount, release, whole):
    monkeypatch.setattr(batches, "_file_system_of", lambda directory: mount)
    monkeypatch.setattr(batches.platform, "release", lambda: release)
    found = batches._file_system_sync.__wrapped__(str(tmp_path))
    assert (found is not None) == whole
    if found is not None:
        descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        found(descriptor)
        os.close(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            found(descriptor)


def test_the_file_system_is_that_of_the_directory():
    assert batches._file_system_of("/proc") == "proc"


def test_in_a_fresh_directory_files_are_written_where_they_belong(tmp_path, calls):
    batch = batches.Batch(str(tmp_path), MANY, fresh=True)
    old = os.umask(0o077)
    try:
        for number in range(MANY):
            status = batch.create(str(tmp_path / f"{number}.crt"), b"%d" % number, 0o644)
    finally:
        os.umask(old)
    assert stat.S_IMODE(status.st_mode) == 0o644
    assert not calls
    batch.commit()
    assert calls == ["sync all"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        f"{number}.crt": b"%d" % number for number in range(MANY)
    }
    with pytest.raises(FileExistsError):
        batches.Batch(str(tmp_path), 1, fresh=True).create(str(tmp_path / "1.crt"), b"x", 0o644)
    assert (tmp_path / "1.crt").read_bytes() == b"1"


def test_a_few_files_of_a_fresh_directory_are_synced_one_by_one(tmp_path, calls):
    batch = batches.Batch(str(tmp_path), 2, fresh=True)
    for name in ("crt", "key"):
        batch.write(str(tmp_path / name), b"x", 0o600)
    batch.commit()
    assert calls == ["fsync", "fsync", "fsync"], "both files and their folder"
