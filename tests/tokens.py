# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PKCS#11 tokens of SoftHSM, each in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pkcs11

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "4711-pin-of-the-tests"
VARIABLE = "SOFTHSM2_CONF"  # where SoftHSM looks for its configuration


@dataclass(frozen=True)
class Token:
    """A token; its configuration is in the environment as long as it lives."""

    folder: pathlib.Path
    label: str

    def settings(self, key: str = "ca", **changed: object) -> dict[str, object]:
        """The modules' options `pkcs11`."""
        return {"module": LIBRARY, "token": self.label, "key": key, "pin": PIN, "pin_file": None, **changed}

    def tool(self, *arguments: str) -> str:
        """Run OpenSC's pkcs11-tool, logged in."""
        command = ["pkcs11-tool", "--module", LIBRARY, "--token-label", self.label, "--login", "--pin", PIN]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def set_flags(self, flags: int) -> None:
        """Have the token say what one says of itself after wrong PINs: SoftHSM itself counts none."""
        (path,) = self.folder.glob("tokens/*/token.object")
        data = bytearray(path.read_bytes())
        # Attributes are type, kind, value, eight bytes each; CKA_OS_TOKENFLAGS is a number (kind 2).
        start = data.index((0x8000534B).to_bytes(8, "big"))
        data[start + 16 : start + 24] = flags.to_bytes(8, "big")
        path.write_bytes(data)


@contextlib.contextmanager
def new_token(folder: pathlib.Path, label: str = "test") -> Iterator[Token]:
    """Yield an empty token, which the library of this process sees as if it were loaded anew."""
    (folder / "tokens").mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(configuration)
    try:
        add_token(label)
        yield Token(folder, label)
    finally:
        forget_library()
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def forget_library(path: str = LIBRARY) -> None:
    """Have the next use of the library in this process begin anew, as in a process of its own."""
    if library := pkcs11._loaded.get(path):
        library.finalize()


def add_token(label: str) -> None:
    """Make another token in the same folder."""
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True)
