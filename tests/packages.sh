#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# packages.sh [PACKAGE…]: what the tests run besides Python (nginx, openssl, easy-rsa, mkcert, cfssl, strace, faketime,
# curl, systemd, a PKCS#11 token in software with its tools, fail2ban's filters) and the packages named, as far as they are
# missing. Neither nginx nor fail2ban is started.
set -euo pipefail

missing=()
for program in nginx openssl strace faketime curl systemd-analyze:systemd softhsm2-util:softhsm2 pkcs11-tool:opensc \
    mkcert cfssl:golang-cfssl fail2ban-regex:fail2ban; do
    PATH=$PATH:/usr/sbin command -v "${program%:*}" >/dev/null || missing+=("${program#*:}")
done
# No program, but openssl's way to a token; the one test that needs it does without elsewhere.
! command -v apt-get >/dev/null || set -- libengine-pkcs11-openssl "$@"
[[ -e /usr/share/easy-rsa/easyrsa ]] || missing+=(easy-rsa)
for package in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
        missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "The tests need ${missing[*]}. On Debian or Ubuntu, as root: apt-get install ${missing[*]}" >&2
    exit 1
fi

# Debian's maintainer scripts ask this file whether they may start a service.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null </dev/null
