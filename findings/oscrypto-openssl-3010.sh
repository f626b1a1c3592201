#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: certvalidator, which checks certificates against CRLs, works with OpenSSL 3.0, or not: not with 3.0.9 and from 3.0.10 on no more.
# What happens: oscrypto 1.3.0, the newest on PyPI, on which it stands, knows a patch number of one digit only. On 3.0.10 and later the import fails with
#   "Error detecting the version of libcrypto", though both the file and its version were found. pyhanko-certvalidator does without oscrypto.
# Seen 2026-11-30: oscrypto 1.3.0, certvalidator 0.11.1, pyhanko-certvalidator 0.33.0, OpenSSL 3.0.19:
#   certvalidator: LibraryNotFoundError: Error detecting the version of libcrypto
#   pyhanko_certvalidator: imported
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
openssl version
python3 -m venv venv
timeout 300 venv/bin/pip install -q oscrypto==1.3.0 certvalidator==0.11.1 pyhanko-certvalidator==0.33.0
for module in certvalidator pyhanko_certvalidator; do
  said=$(timeout 60 venv/bin/python -c "import $module" 2>&1 | tail -n 1) || true
  echo "$module: ${said:-imported}" | sed 's/oscrypto\.errors\.//'
done | tee seen.txt
cat >expected.txt <<'TXT'
certvalidator: LibraryNotFoundError: Error detecting the version of libcrypto
pyhanko_certvalidator: imported
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: the import of certvalidator was expected to fail" >&2; exit 1; }
