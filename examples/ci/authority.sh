#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# authority.sh open|close DIRECTORY: the authority's directory, kept in git as one file encrypted by ansible-vault,
# DIRECTORY.tar.vault. `open` unpacks it; `close` packs it again, if anything in it has changed.
# The password is where ANSIBLE_VAULT_PASSWORD_FILE says.
set -euo pipefail
umask 077

action=${1:?open or close}
directory=${2:?the directory of the authority}
packed=$directory.tar.vault
stamp=$directory/.packed
parent=$(dirname "$directory")
name=$(basename "$directory")

digest() { (cd "$directory" && find . -type f ! -name .packed ! -name .lock -print0 | sort -z | xargs -0r sha256sum | sha256sum); }

case $action in
    open)
        [[ ! -e $directory ]] || { echo "$directory is there already: it might hold what was never packed" >&2; exit 1; }
        [[ -e $packed ]] || { echo "no $packed yet: the first run makes the authority"; exit 0; }
        ansible-vault decrypt --output - "$packed" | tar --extract --directory "$parent"
        digest >"$stamp"
        ;;
    close)
        [[ -d $directory ]] || { echo "no $directory: nothing to keep"; exit 0; }
        if [[ -e $stamp ]] && digest | cmp --silent - "$stamp"; then
            echo "nothing was issued or revoked"
            exit 0
        fi
        tar --create --directory "$parent" --exclude .packed --exclude .lock "$name" |
            ansible-vault encrypt --output "$packed.new" -
        mv "$packed.new" "$packed"
        digest >"$stamp"
        ;;
    *)
        echo "open or close, not $action" >&2
        exit 1
        ;;
esac
