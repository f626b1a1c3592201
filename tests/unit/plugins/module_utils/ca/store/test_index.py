# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""index.txt, as openssl writes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
GOOD = "V\t271123000000Z\t\t1000\tunknown\t/CN=a\n"


def load(tmp_path, text: str) -> Index:
    path = tmp_path / "index.txt"
    path.write_text(text)
    return Index.load(str(path))


def test_every_kind_of_line_is_read_and_written_back_unchanged(tmp_path):
    text = (
        GOOD + "R\t271123000000Z\t261122101112Z,keyCompromise\t1001\tunknown\t/C=ES/CN=Jos\\xC3\\xA9\n"
        "R\t20550101000000Z\t261122101112Z\t1002\tunknown\t/CN=c\n"
        "R\t271123000000Z\t261122101112Z,keyTime,20261101000000Z\t1003\tunknown\t/CN=d\n"
        "E\t251123000000Z\t\t1004\tunknown\t/CN=e\n"
    )
    index = load(tmp_path, text)
    index.save()
    assert (tmp_path / "index.txt").read_text() == text
    assert index.get("1001").revoked_at == datetime(2026, 11, 22, 10, 11, 12, tzinfo=UTC)
    assert index.get("1001").reason == "keyCompromise"
    assert index.get("1002").not_after.year == 2055
    assert index.get("1002").reason is None
    assert index.get("1003").reason == "keyCompromise"
    assert index.get("1004").status == "valid"
    assert list(index.live(NOW)) == [("1000", "/CN=a")]
    assert list(index.live(NOW, besides={"1000"})) == []


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        (GOOD + GOOD[:-1].replace("1000", "1001"), 2, "is cut off"),
        (GOOD + "V\t2711", 2, "is cut off"),
        ("#!/bin/sh\necho hello\n", 2, "is not a line of `openssl ca`"),
        (GOOD + "V\t271123000000Z\t1001\tunknown\t/CN=a\n", 2, "is not a line"),
        (GOOD + "V\t271323000000Zx\t\t1001\tunknown\t/CN=a\n", 2, "is not a line"),
        (GOOD.replace("1000", "100g"), 1, "is not a line"),
        (GOOD.replace("1000", "100"), 1, "is not a line"),
        (GOOD + GOOD.replace("1000", "0010"), 2, "is not a line"),
        (GOOD.replace("1000", "10" * 33), 1, "is not a line"),
        (GOOD + "\n", 2, "is not a line"),
        (GOOD.replace("27", "\u0662\u0667"), 1, "is not a line"),
        (GOOD + GOOD, 2, "serial 1000 is there twice"),
        ("\x7fELF\x00\xff binary\n", 1, "is not a line"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_by_line(tmp_path, text, line, complaint):
    with pytest.raises(MtlsError, match=rf"index\.txt, line {line}: ") as caught:
        load(tmp_path, text)
    assert complaint in str(caught.value)
    assert "restore" in str(caught.value)


def test_a_letter_e_counts_for_nothing_its_date_decides(tmp_path):
    early = GOOD.replace("V", "E", 1)  # what `openssl ca -updatedb` leaves when the clock was wrong
    past = "E\t251123000000Z\t\t1001\tunknown\t/CN=b\n"
    index = load(tmp_path, early + past)
    assert [(serial, index.get(serial).status, index.is_valid(serial)) for serial in index] == [
        ("1000", "valid", True),
        ("1001", "valid", True),
    ]
    assert list(index.live(NOW)) == [("1000", "/CN=a")]
    assert [serial for serial, _subject in index.live(datetime(2024, 1, 1, tzinfo=UTC))] == ["1000", "1001"]


def test_a_letter_e_is_put_right_when_the_file_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(times, "now", lambda: NOW)
    early = GOOD.replace("V", "E", 1)
    past = "E\t251123000000Z\t\t1001\tunknown\t/CN=b\n"
    far = early.replace("271123", "20551123").replace("1000", "1002")
    load(tmp_path, early + past + far).save()
    assert (tmp_path / "index.txt").read_text() == GOOD + past + far.replace("E", "V", 1)


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("comment", ["", "# by hand\r\n"])
def test_line_ends_are_not_content(tmp_path, checked, comment):
    text = GOOD + "R\t271123000000Z\t261122101112Z,keyCompromise\t1001\tunknown\t/CN=b\n"
    path = tmp_path / "index.txt"
    path.write_bytes(comment.encode() + text.replace("\n", "\r\n").encode())
    index = Index.load(str(path), checked=checked)
    assert [index.get(serial).subject for serial in index] == ["/CN=a", "/CN=b"]
    assert index.namesakes("/CN=a") == ["1000"]
    assert list(index.live(NOW)) == [("1000", "/CN=a")]
    assert list(index.revocations()) == [("261122101112Z", "keyCompromise")]
    index.save()
    assert path.read_bytes() == text.encode()


def test_a_number_file_with_other_line_ends_is_read(tmp_path):
    (tmp_path / "serial").write_bytes(b"10AB\r\n")
    assert numbers.read_number(str(tmp_path / "serial")) == 0x10AB


def test_a_date_that_does_not_exist_is_an_error_and_no_traceback(tmp_path):
    index = load(tmp_path, GOOD.replace("271123", "270231"))
    with pytest.raises(MtlsError, match="serial 1000 has a date that does not exist"):
        index.get("1000")


def test_a_serial_is_never_entered_twice(tmp_path):
    with pytest.raises(MtlsError, match="serial 1000 was issued before"):
        load(tmp_path, GOOD).add("1000", NOW, "/CN=b")


def test_what_ends_in_which_century(tmp_path):
    ends = {"1000": "271123000000Z", "1001": "991123000000Z", "1002": "20551123000000Z", "1003": "19551123000000Z"}
    index = load(tmp_path, "".join(f"V\t{end}\t\t{serial}\tunknown\t/CN=a\n" for serial, end in ends.items()))
    assert [serial for serial, _subject in index.live(NOW)] == ["1000", "1002"]
    assert [serial for serial, _subject in index.live(datetime(2051, 1, 1, tzinfo=UTC))] == ["1002"]


def test_namesakes_ignore_case_whoever_asks(tmp_path):
    index = load(tmp_path, GOOD + GOOD.replace("1000", "10AB").replace("CN=a", "CN=A"))
    for _search in range(20):
        assert index.namesakes("/CN=a") == ["1000", "10AB"]
        assert index.namesakes("/CN=") == []
        assert index.namesakes("N=a") == []
    index.add("1002", NOW, "/CN=a")
    assert index.namesakes("/CN=a") == ["1000", "10AB", "1002"]


def test_a_checked_file_is_read_the_same_way(tmp_path):
    text = GOOD + GOOD.replace("1000", "10AB") + "R\t271123000000Z\t261122101112Z\t1002\tunknown\t/CN=c\n"
    for content in (text, "#" + text, text.replace("CN=c", "CN=#c"), ""):
        (tmp_path / "index.txt").write_text(content)
        index, checked = (Index.load(str(tmp_path / "index.txt"), checked=checked) for checked in (False, True))
        assert [checked.get(serial) for serial in checked] == [index.get(serial) for serial in index]


@pytest.mark.parametrize(
    ("typed", "serial"), [("1000", "1000"), ("0x1000", "1000"), ("1", "01"), ("a:bC", "0ABC"), ("00:ff", "FF")]
)
def test_serials_people_type(typed, serial):
    assert numbers.parse_serial(typed) == serial


@pytest.mark.parametrize("typed", ["", "xyz", "-1", "1.5", "f" * 65])
def test_serials_that_are_none(typed):
    with pytest.raises(MtlsError, match="not hexadecimal"):
        numbers.parse_serial(typed)


def test_a_serial_file_with_something_else_is_refused(tmp_path):
    (tmp_path / "serial").write_text("hello\n")
    with pytest.raises(MtlsError, match="serial: holds 'hello'"):
        numbers.read_number(str(tmp_path / "serial"))


# --- what is written


def test_a_revocation_and_its_release_change_one_line(tmp_path):
    index = load(tmp_path, GOOD + GOOD.replace("1000", "1001"))
    index.revoke("1000", NOW, "keyCompromise")
    moment = times.asn1_text(NOW)
    index.save()
    written = f"R\t271123000000Z\t{moment},keyCompromise\t1000\tunknown\t/CN=a\n" + GOOD.replace("1000", "1001")
    assert (tmp_path / "index.txt").read_text() == written
    assert (tmp_path / "index.txt").stat().st_mode & 0o7777 == 0o600
    entry = index.get("1000")
    assert (entry.status, entry.revoked_at, entry.reason) == ("revoked", NOW, "keyCompromise")
    assert [index.is_valid(serial) for serial in ("1000", "1001", "1002")] == [False, True, False]
    assert index.get("1002") is None
    index.revoke("1000", NOW, "unspecified")
    assert index.revocations() == {(moment, None): ["1000"]}
    index.release("1000")
    index.save()
    assert (tmp_path / "index.txt").read_text() == GOOD + GOOD.replace("1000", "1001")


def test_what_is_issued_is_the_last_line(tmp_path):
    index = load(tmp_path, GOOD)
    assert ("1001" in index, len(index), list(index)) == (False, 1, ["1000"])
    index.add("1001", datetime(2027, 11, 23, tzinfo=UTC), "/CN=b")
    assert ("1001" in index, len(index), list(index)) == (True, 2, ["1000", "1001"])
    index.save()
    assert (tmp_path / "index.txt").read_text() == GOOD + GOOD.replace("1000", "1001").replace("CN=a", "CN=b")


def test_what_another_record_has_otherwise(tmp_path):
    """Each serial that only the other one has, or has with another line; and whether they have anybody in common."""
    same, changed, only = (f"V\t360101000000Z\t\t{serial}\tunknown\t/CN=a\n" for serial in ("10", "11", "12"))
    revoked = changed.replace("V\t360101000000Z\t", "R\t360101000000Z\t260101000000Z,superseded")
    own = load(tmp_path, same + changed)
    other = load(tmp_path, same + revoked + only)
    assert [(entry.serial, entry.status, entry.reason) for entry in own.differing(other)] == [
        ("11", "revoked", "superseded"),
        ("12", "valid", None),
    ]
    assert [entry.serial for entry in other.differing(own)] == ["11"]
    assert own.differing(own) == []
    for text, apart in ((only, True), ("", True), (revoked, False), (same.replace("/CN=a", "/CN=b"), True)):
        assert own.is_apart_from(load(tmp_path, text)) is apart
    assert load(tmp_path, only.replace("/CN=a", "")).is_apart_from(own)


def test_of_what_a_crl_lists_only_news_is_taken(tmp_path):
    index, end = load(tmp_path, "V\t360101000000Z\t\t10\tunknown\t/CN=a\n"), NOW + timedelta(days=9)
    assert index.take_from_crl("10", NOW, "certificateHold", end)
    assert not index.take_from_crl("10", NOW, "certificateHold", end)
    assert index.take_from_crl("10", NOW, "keyCompromise", end)
    assert not index.take_from_crl("10", NOW, "superseded", end)
    assert (index.get("10").subject, index.get("10").reason) == ("/CN=a", "keyCompromise")
    assert index.take_from_crl("11", NOW, "superseded", end)
    found = index.get("11")
    assert (found.subject, found.not_after, found.status) == ("/CN=known from the CRL only", end, "revoked")


def test_a_copy_is_a_record_of_its_own(tmp_path):
    index = load(tmp_path, GOOD)
    copy = index.copy(str(tmp_path / "copy.txt"))
    copy.revoke("1000", NOW, "superseded")
    assert (index.is_valid("1000"), copy.is_valid("1000")) == (True, False)
    copy.save()
    assert (tmp_path / "index.txt").read_text() == GOOD
    assert (tmp_path / "copy.txt").read_text().startswith("R\t")


def test_octets_that_are_no_utf_8_are_kept(tmp_path):
    path = tmp_path / "index.txt"
    path.write_bytes(GOOD.encode().replace(b"CN=a", b"CN=\xff\xc3"))
    index = Index.load(str(path))
    index.save()
    assert path.read_bytes() == GOOD.encode().replace(b"CN=a", b"CN=\xff\xc3")


# --- what is revoked, and until when


def test_revocations_by_time_and_reason(tmp_path):
    lines = {
        "1001": ("271123000000Z", "261122101112Z,keyCompromise"),
        "1002": ("271124000000Z", "261122101112Z"),
        "1003": ("20551123000000Z", "261122101112Z,keyTime,20261101000000Z"),
        "1004": ("271123000000Z", "261122101113Z,CAkeyTime,20261101000000Z"),
        "1005": ("271123000001Z", "261122101112Z,holdInstruction,1.2.3"),
        "1006": ("261123000000Z", "261122101112Z"),
        "1007": ("261123000000Z", "261122101114Z,superseded,whatever"),
    }
    text = "".join(f"R\t{end}\t{note}\t{serial}\tunknown\t/CN=a\n" for serial, (end, note) in lines.items())
    index = load(tmp_path, GOOD + text)
    assert index.revocations() == {
        ("261122101112Z", "keyCompromise"): ["1001", "1003"],
        ("261122101112Z", None): ["1002", "1006"],
        ("261122101113Z", "CACompromise"): ["1004"],
        ("261122101112Z", "certificateHold"): ["1005"],
        ("261122101114Z", "superseded"): ["1007"],
    }
    assert index.get("1007").reason == "superseded"
    assert index.revocations(datetime(2027, 11, 23, tzinfo=UTC)) == {
        ("261122101112Z", None): ["1002"],
        ("261122101112Z", "keyCompromise"): ["1003"],
        ("261122101112Z", "certificateHold"): ["1005"],
    }
    assert sum(map(len, index.revocations(datetime(2027, 11, 22, 23, 59, 59, tzinfo=UTC)).values())) == 5
    assert [index.get(serial).on_hold for serial in lines] == [False, False, False, False, True, False, False]


def test_to_the_second_it_names_a_certificate_is_live(tmp_path):
    ends = {"1000": "271123000000Z", "1001": "20271123000000Z", "1002": "491231235959Z", "1003": "500101000000Z"}
    index = load(tmp_path, "".join(f"V\t{end}\t\t{serial}\tunknown\t/CN=a\n" for serial, end in ends.items()))
    end = datetime(2027, 11, 23, tzinfo=UTC)
    assert [serial for serial, _subject in index.live(end - timedelta(seconds=1))] == ["1000", "1001", "1002"]
    assert [serial for serial, _subject in index.live(end)] == ["1002"]
    assert [serial for serial, _subject in index.live(datetime(1949, 12, 31, tzinfo=UTC))] == list(ends)


@pytest.mark.parametrize("ended", [False, True])
def test_a_letter_e_stays_from_the_second_of_its_end_on(tmp_path, monkeypatch, ended):
    text = GOOD.replace("V", "E", 1)
    monkeypatch.setattr(times, "now", lambda: datetime(2027, 11, 23, tzinfo=UTC) - timedelta(seconds=not ended))
    load(tmp_path, text).save()
    assert (tmp_path / "index.txt").read_text() == (text if ended else GOOD)


def test_comments_and_lines_that_are_none(tmp_path):
    second = GOOD.replace("1000", "1001")
    assert list(load(tmp_path, "# by hand\n" + GOOD + "#\n" + second)) == ["1000", "1001"]
    assert list(load(tmp_path, GOOD.replace("1000", "00"))) == ["00"]
    assert list(load(tmp_path, "# by hand\n" + GOOD.replace("1000", "0A0B"))) == ["0A0B"]
    assert list(load(tmp_path, GOOD.replace("1000", "FF" * 32))) == ["FF" * 32]
    odd = "V\t271123000000Z\tsomething\t1001\tunknown\t/CN=" + "n" * 80
    said = f"line 3: is not a line of `openssl ca` ({odd[:60]!r}); restore"
    with pytest.raises(MtlsError, match=re.escape(said)):
        load(tmp_path, "# one\n" + GOOD + odd + "\n")
