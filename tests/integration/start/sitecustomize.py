# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python does first in ansible-playbook and in the modules that it runs: no source is compiled twice.

Python keeps what it has compiled of files in folders. Ansible has its own way to import collections, and brings modules
to hosts as archives of source: each of a thousand processes would compile the same files, for a quarter of its time.
"""

# Nothing of __future__: compile() hands on what holds for the code that calls it.
import _imp
import builtins
import contextlib
import gc
import marshal
import os
import sys
import zlib


def keep_in(folder, compile=builtins.compile):
    """Have whole files of source compiled only if the result is not in a folder yet."""

    def kept(source, filename, mode, flags=0, dont_inherit=False, optimize=-1, **other):
        if mode != "exec" or flags or other or optimize != -1 or not isinstance(source, str | bytes):
            return compile(source, filename, mode, flags, dont_inherit, optimize, **other)
        text = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
        sums = f"{len(text):x}-{zlib.crc32(text):08x}-{zlib.adler32(text):08x}"
        path = os.path.join(folder, f"{sys.implementation.cache_tag}-{sums}")
        with contextlib.suppress(OSError), open(path, "rb") as stream:
            code = marshal.loads(stream.read())
            _imp._fix_co_filename(code, os.fspath(filename))
            return code
        code = compile(source, filename, mode, dont_inherit=dont_inherit)
        with contextlib.suppress(OSError):
            new = f"{path}-{os.getpid()}"
            with open(new, "wb") as stream:
                stream.write(marshal.dumps(code))
            os.replace(new, path)
        return code

    builtins.compile = kept


if "COMPILED_FOLDER" in os.environ:
    keep_in(os.environ["COMPILED_FOLDER"])
    gc.disable()  # none of them lives for long
