#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: certvalidator, which checks certificates against CRLs, works with every OpenSSL 3.0 if with one.
# What happens: oscrypto 1.3.0, on which it stands, looks for a version of three digits (`\d\.\d\.\d` in its source). From 3.0.10 on the import fails:
#   "Error detecting the version of libcrypto", though the file and its version were found. pyhanko-certvalidator does without oscrypto.
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
