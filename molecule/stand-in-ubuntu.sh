#!/bin/sh
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# stand-in-ubuntu.sh ROOT: makes a Debian root file system say that it is Ubuntu 24.04. What it can prove is that nothing
# in the collection minds the name. Packages, nginx and systemd are Debian's.
set -eu

root=$1

rm -f "$root/etc/os-release"
cat >"$root/etc/os-release" <<'RELEASE'
PRETTY_NAME="Ubuntu 24.04 LTS (stand-in: Debian inside)"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04 LTS (stand-in: Debian inside)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=noble
RELEASE
cat >"$root/etc/lsb-release" <<'RELEASE'
DISTRIB_ID=Ubuntu
DISTRIB_RELEASE=24.04
DISTRIB_CODENAME=noble
DISTRIB_DESCRIPTION="Ubuntu 24.04 LTS (stand-in: Debian inside)"
RELEASE
