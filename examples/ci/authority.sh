#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# authority.sh ACTION DIRECTORY: the authority's directory, kept on a git branch of its own as one file encrypted by
# ansible-vault. The password is where ANSIBLE_VAULT_PASSWORD_FILE says.
#
#   take     claim the branch, so that nobody else signs meanwhile, and unpack the directory
#   keep     pack it again if anything in it has changed, push it, and end the claim
#   look     unpack it without a claim: for a run that changes nothing
#   release  end the claim of a run that is dead
#   open     unpack DIRECTORY.tar.vault; close: pack it, if anything has changed. No branch has a part in these
#
# MTLS_BRANCH is the branch (mtls-authority), MTLS_REMOTE where it is (origin), MTLS_WAIT for how many seconds `take`
# waits while somebody else has the claim (3600).
set -euo pipefail
shopt -s inherit_errexit
umask 077

action=${1:?take, keep, look, release, open or close}
directory=${2:?the directory of the authority}
packed=$directory.tar.vault
stamp=$directory/.packed
parent=$(dirname "$directory")
name=$(basename "$directory")
branch=${MTLS_BRANCH:-mtls-authority}
remote=${MTLS_REMOTE:-origin}
wait=${MTLS_WAIT:-3600}
head=refs/heads/$branch
file=authority.tar.vault # on the branch
tries=5
if [[ -n ${GITHUB_RUN_ID-} ]]; then
    me="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID attempt $GITHUB_RUN_ATTEMPT"
else
    me=${CI_JOB_URL:-$(id -un)@$(hostname)}
fi

fail() { echo "authority.sh: $*" >&2; exit 1; }

digest() { (cd "$directory" && find . -type f ! -name .packed ! -name .lock -print0 | sort -z | xargs -0r sha256sum | sha256sum); }

unpack() {
    [[ ! -e $directory ]] || fail "$directory is there already: it might hold what was never packed"
    [[ -e $packed ]] || { echo "no $packed yet: the first run makes the authority"; return; }
    ansible-vault decrypt --output - "$packed" | tar --extract --directory "$parent"
    digest >"$stamp"
}

pack() {
    [[ -d $directory ]] || { echo "no $directory: nothing to keep"; return 1; }
    if [[ -e $stamp ]] && digest | cmp --silent - "$stamp"; then
        echo "nothing was issued or revoked"
        return 1
    fi
    tar --create --directory "$parent" --exclude .packed --exclude .lock "$name" |
        ansible-vault encrypt --output "$packed.new" - || fail "$directory: could not be packed, and is still there"
    mv "$packed.new" "$packed" || fail "$directory: could not be packed, and is still there"
    digest >"$stamp"
}

# The branch as it is at the remote now, as refs/mtls/tip; no tip where there is no such branch yet.
fetch() {
    local try status depth=
    [[ $(git rev-parse --is-shallow-repository) == false ]] || depth=--depth=1
    for ((try = 1; ; try++)); do
        status=0
        git ls-remote --exit-code "$remote" "$head" >/dev/null || status=$?
        if ((status == 2)); then
            git update-ref -d refs/mtls/tip
            return
        fi
        ((status == 0)) && git fetch --quiet ${depth:+"$depth"} "$remote" "+$head:refs/mtls/tip" && return
        ((try < tries)) || fail "the branch $branch cannot be fetched from $remote"
        sleep $((2 * try))
    done
}

tip() { git rev-parse --quiet --verify refs/mtls/tip || true; }
blob() { git rev-parse --quiet --verify "$1:$2" || true; } # what a commit has as this file
claim() { git cat-file blob "refs/mtls/tip:claim" 2>/dev/null || true; }

# A commit on the tip. Of the pairs of arguments each is a file and its blob; one without a blob goes.
commit() {
    local message=$1 index tree tip
    shift
    tip=$(tip)
    index=$(mktemp -u)
    export GIT_INDEX_FILE=$index
    if [[ -n $tip ]]; then git read-tree "$tip"; else git read-tree --empty; fi
    while (($#)); do
        if [[ -n $2 ]]; then
            git update-index --add --cacheinfo "100644,$2,$1"
        else
            git update-index --force-remove "$1"
        fi
        shift 2
    done
    tree=$(git write-tree)
    unset GIT_INDEX_FILE
    rm -f "$index"
    GIT_AUTHOR_NAME=mtls GIT_AUTHOR_EMAIL=mtls@localhost GIT_COMMITTER_NAME=mtls GIT_COMMITTER_EMAIL=mtls@localhost \
        git commit-tree "$tree" ${tip:+-p "$tip"} -m "$message"
}

# Never by force: what somebody else has pushed stays.
push() { git push --quiet "$remote" "${1:?a commit}:$head"; }

take() {
    local end=$((SECONDS + wait)) refused=0 before made mine
    [[ ! -e $directory ]] || fail "$directory is there already: it might hold what was never packed"
    mine=$(printf '%s\nsince %s\n%s\n' "$me" "$(date --utc +%FT%TZ)" "$RANDOM$RANDOM$RANDOM")
    while true; do
        fetch
        if [[ -n $(claim) ]]; then
            ((SECONDS < end)) || fail "somebody else has the authority and may be signing: $(claim | head -2 | paste -sd ' ')." \
                "Two that sign from the same record lose one of theirs, so nothing was done. Wait for that run. If it is" \
                "dead, look for the record among its artifacts, and then: $0 release $directory"
            sleep $((wait < 10 ? 1 : 10))
            continue
        fi
        before=$(tip)
        made=$(commit "Claimed by $me" claim "$(git hash-object -w --stdin <<<"$mine")")
        push "$made" && break
        fetch
        [[ $(tip) != "$before" ]] || ((++refused < 3)) ||
            fail "$remote takes no commit on the branch $branch: let this job push there. Nothing was done"
        sleep 1
    done
    git update-ref refs/mtls/tip "$made"
    git update-ref refs/mtls/claimed "$made"
    checkout_packed
    unpack
}

# A branch that is new begins with what the checkout has.
checkout_packed() { [[ -z $(blob refs/mtls/tip "$file") ]] || git cat-file blob "refs/mtls/tip:$file" >"$packed"; }

keep() {
    local try began mine made record=
    began=$(git rev-parse --quiet --verify refs/mtls/claimed) || fail "nothing was taken here"
    mine=$(git cat-file blob "$began:claim")
    pack || true
    [[ ! -e $packed ]] || record=$(git hash-object -w --no-filters "$packed")
    [[ $record != "$(blob "$began" "$file")" ]] || record=
    for ((try = 1; try <= tries; try++)); do
        fetch
        # The branch may have moved, but not the record, and nobody else may be about to change it.
        [[ $(blob refs/mtls/tip "$file") == "$(blob "$began" "$file")" && ($(claim) == "$mine" || -z $(claim)) ]] ||
            fail "the branch $branch is somebody else's since this run claimed it: $(git log -1 --format='%s, %cI' refs/mtls/tip)." \
                ${record:+"What this run has issued and revoked is in $packed and on no branch. Keep that file, revoke by" \
                    "its newcerts/ what nobody may use, and run again for what is needed."}
        made=$(commit "The authority's record, by $me" claim '' ${record:+"$file" "$record"})
        if push "$made"; then
            git update-ref -d refs/mtls/claimed
            return
        fi
        sleep $((2 * try))
    done
    fail "$remote takes no commit on the branch $branch." \
        ${record:+"What this run has issued and revoked is in $packed and on no branch. Keep that file."} \
        "Once the branch can be pushed: $0 keep $directory"
}

release() {
    local made
    fetch
    [[ -n $(claim) ]] || { echo "nobody has it"; return; }
    echo "ended: the claim of $(claim | head -2 | paste -sd ' ')"
    made=$(commit "Claim ended by $me" claim '')
    push "$made"
}

case $action in
    take | keep | release) "$action" ;;
    look)
        fetch
        checkout_packed
        unpack
        ;;
    open) unpack ;;
    close) pack || true ;;
    *) fail "take, keep, look, release, open or close, not $action" ;;
esac
