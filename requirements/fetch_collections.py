# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fetch_collections.py FOLDER: puts the collections of others that tests need below FOLDER.

They come out of PyPI's `ansible` bundle, from where everything else here comes too, and only these of its many.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

BUNDLE = "ansible>=11,<15"
NAMES = (
    # Molecule's Docker driver
    "ansible/posix",
    "community/docker",
    "community/library_inventory_filtering_v1",
    # what people have made their authority with, and what ours is measured against
    "community/crypto",
)


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mtls-collections-") as downloads:
        # No newer bundle than this Python can use.
        command = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--dest={downloads}", BUNDLE]
        subprocess.run([sys.executable, "-m", *command], check=True)
        (wheel,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel) as bundle:
            wanted = tuple(f"ansible_collections/{name}/" for name in NAMES)
            bundle.extractall(folder, [name for name in bundle.namelist() if name.startswith(wanted)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
