# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of several records, those of one CA count together, and a revocation in any of them counts."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle.records import gather
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

GOOD = "V\t360101000000Z\t\t{serial}\tunknown\t/CN={name}\n"
REVOKED = "R\t360101000000Z\t261101000000Z{reason}\t{serial}\tunknown\t/CN={name}\n"


def good(serial: str, name: str) -> str:
    return GOOD.format(serial=serial, name=name)


def revoked(serial: str, name: str, reason: str = "") -> str:
    return REVOKED.format(serial=serial, name=name, reason=reason)


def read(folder, issued=None, **contents):
    paths = []
    for name, content in contents.items():
        paths.append(str(folder / name.replace("_", ".")))
        (folder / name.replace("_", ".")).write_text(content)
    return gather(paths, issued or {}, "index.txt")


def letters(record) -> dict[str, bool]:
    return {serial: record.index.is_valid(serial) for serial in record.index}


def test_without_any_there_is_an_empty_one(tmp_path):
    record = read(tmp_path)
    assert (record.path, len(record.index), record.warnings) == (None, 0, [])


def test_the_state_before_the_last_change_adds_nothing(tmp_path):
    record = read(tmp_path, index_txt=good("10", "a") + revoked("11", "b"), index_txt_old=good("10", "a"))
    assert record.path == str(tmp_path / "index.txt")
    assert (letters(record), record.warnings, record.skipped) == ({"10": True, "11": False}, [], {})


def test_what_only_an_older_copy_has_is_taken_from_it(tmp_path):
    older = good("10", "a") + good("13", "d") + revoked("11", "b", ",keyCompromise") + revoked("12", "c")
    newer = good("10", "a") + good("12", "c") + revoked("13", "d")
    record = read(tmp_path, index_txt=newer, index_txt_old=older)
    assert letters(record) == {"10": True, "12": False, "13": False, "11": False}
    assert record.index.get("11").reason == "keyCompromise"
    assert "index.txt.old: has 1 certificates that" in record.warnings[0]
    assert "they are revoked: 11, 12" in record.warnings[1]


def test_a_hold_that_was_released_stays_so(tmp_path):
    older = revoked("10", "a", ",certificateHold")
    assert letters(read(tmp_path, index_txt=good("10", "a"), index_txt_old=older)) == {"10": True}


def test_what_any_of_them_has_revoked_for_good_cannot_be_released(tmp_path):
    held, for_good = revoked("10", "a", ",certificateHold"), revoked("10", "a", ",keyCompromise")
    for main, copy in ((held, for_good), (for_good, held)):
        record = read(tmp_path, index_txt=main, index_txt_old=copy)
        assert record.index.get("10").reason == "keyCompromise"
        assert ("they are revoked: 10" in "".join(record.warnings)) is (main is held)
    record = read(tmp_path, index_txt=for_good, index_txt_old=revoked("10", "a", ",superseded"))
    assert (record.index.get("10").reason, record.warnings) == ("keyCompromise", [])


def test_an_older_copy_that_is_damaged_is_named_and_a_record_is_an_error(tmp_path):
    record = read(tmp_path, index_txt=good("10", "a"), index_txt_old="V\t27")
    assert "is an older copy of a record, and damaged" in record.skipped[str(tmp_path / "index.txt.old")]
    with pytest.raises(MtlsError, match=r"index\.txt, line 1: is cut off"):
        read(tmp_path, index_txt="V\t27")


def test_of_several_cas_the_one_that_issued_the_certificates_counts(tmp_path):
    both = {"one_db": good("10", "a"), "two_db": good("10", "b") + revoked("11", "c")}
    record = read(tmp_path, {"10": "/CN=a"}, **both)
    assert (record.path, letters(record)) == (str(tmp_path / "one.db"), {"10": True})
    assert record.skipped == {str(tmp_path / "two.db"): "is the record of another CA"}
    with pytest.raises(MtlsError, match=r"one\.db, \S+two\.db: are the records of several CAs; give one in source"):
        read(tmp_path, **both)
    with pytest.raises(MtlsError, match="is the record of another CA: it has 10 as /CN=a, and that certificate is"):
        read(tmp_path, {"10": "/CN=x"}, one_db=good("10", "a"))


def test_the_only_record_may_lack_what_was_issued(tmp_path):
    assert letters(read(tmp_path, {"11": "/CN=b"}, index_txt=good("10", "a"))) == {"10": True}


def test_two_cas_that_both_began_with_an_admin_are_two(tmp_path):
    """Both count from 10 on, as a tutorial says; only what was issued tells which is which."""
    one, two = good("10", "admin") + good("11", "a"), good("10", "admin") + revoked("11", "b")
    record = read(tmp_path, {"11": "/CN=a"}, one_db=one, two_db=two)
    assert (letters(record), list(record.skipped)) == ({"10": True, "11": True}, [str(tmp_path / "two.db")])


@pytest.mark.parametrize(
    ("name", "content", "taken"),
    [
        ("two_db_old", good("10", "b") + revoked("11", "c"), False),  # the same serial, and somebody else's
        ("two_db_old", good("12", "b"), False),  # nothing in common
        ("two_db_old", good("10", "a") + revoked("11", "c"), True),
        ("two_db_old", "", True),
        ("one_db_old", revoked("11", "c"), True),  # by its name
    ],
)
def test_an_older_copy_counts_where_it_is_of_the_same_record(tmp_path, name, content, taken):
    record = read(tmp_path, one_db=good("10", "a"), **{name: content})
    assert record.skipped == ({} if taken else {str(tmp_path / name.replace("_", ".")): "is the record of another CA"})
    assert letters(record) == ({"10": True, "11": False} if taken and content else {"10": True})


def test_an_empty_one_is_not_preferred_to_one_with_lines(tmp_path):
    record = read(tmp_path, index_txt="", root_db=revoked("10", "a"))
    assert (record.path, letters(record)) == (str(tmp_path / "root.db"), {"10": False})
    assert read(tmp_path, index_txt="", root_db="").path == str(tmp_path / "index.txt")


def test_copies_of_one_record_count_together(tmp_path):
    record = read(
        tmp_path, {"10": "/CN=a"}, one_db=good("10", "a") + good("11", "b"), two_db=good("10", "a") + revoked("12", "c")
    )
    assert letters(record) == {"10": True, "11": True, "12": False}
