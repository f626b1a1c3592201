#!/bin/sh
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# stand-in-centos.sh ROOT: makes a Debian root file system with nginx, dnf and rpm look like Enterprise Linux 9: its package
# manager, its release files, and an nginx RPM in its layout in a local repository. What it can prove is the paths of
# dnf, of that layout and of the unit. It has no SELinux, no crypto policies, and the nginx is Debian's.
set -eu

root=$1

chroot "$root" useradd --system --home-dir /var/lib/nginx --shell /usr/sbin/nologin nginx
payload=$root/tmp/payload
mkdir -p "$payload/usr/sbin" "$payload/usr/lib/systemd/system" "$payload/usr/share/nginx/html" \
    "$payload/etc/nginx/conf.d" "$payload/etc/nginx/default.d" "$payload/var/log/nginx" "$payload/var/lib/nginx"
cp "$root/usr/sbin/nginx" "$payload/usr/sbin/nginx"
cp "$root/etc/nginx/mime.types" "$payload/etc/nginx/mime.types"
echo '<h1>Test page</h1>' >"$payload/usr/share/nginx/html/index.html"
cat >"$payload/etc/nginx/nginx.conf" <<'CONF'
user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log;
pid /run/nginx.pid;

events {
    worker_connections 1024;
}

http {
    access_log /var/log/nginx/access.log;
    sendfile on;
    keepalive_timeout 65;
    types_hash_max_size 4096;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;

    include /etc/nginx/conf.d/*.conf;

    server {
        listen 80;
        listen [::]:80;
        server_name _;
        root /usr/share/nginx/html;
        include /etc/nginx/default.d/*.conf;
    }
}
CONF
cat >"$payload/usr/lib/systemd/system/nginx.service" <<'UNIT'
[Unit]
Description=The nginx HTTP and reverse proxy server
After=network-online.target remote-fs.target nss-lookup.target
Wants=network-online.target

[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStartPre=/usr/bin/rm -f /run/nginx.pid
ExecStartPre=/usr/sbin/nginx -t
ExecStart=/usr/sbin/nginx
ExecReload=/usr/sbin/nginx -s reload
KillSignal=SIGQUIT
TimeoutStopSec=5
KillMode=mixed
PrivateTmp=true

[Install]
WantedBy=multi-user.target
UNIT
version=$(chroot "$root" dpkg-query --show --showformat="\${Version}" nginx-light | sed 's/-.*//')
cat >"$root/tmp/nginx.spec" <<SPEC
Name: nginx
Version: $version
Release: 1.stand.in
Summary: A stand-in for Enterprise Linux's nginx, with Debian's program
License: BSD
AutoReqProv: no
Provides: /bin/sh
%global __os_install_post %{nil}
%description
%{summary}.
%install
cp -a /tmp/payload/. %{buildroot}
%files
/usr/sbin/nginx
/usr/lib/systemd/system/nginx.service
/usr/share/nginx/html
%dir /etc/nginx/conf.d
%dir /etc/nginx/default.d
%config(noreplace) /etc/nginx/nginx.conf
%config(noreplace) /etc/nginx/mime.types
%attr(0711,root,root) %dir /var/log/nginx
%attr(0770,nginx,root) %dir /var/lib/nginx
%post
systemctl daemon-reload >/dev/null 2>&1 || :
SPEC
chroot "$root" rpmbuild --quiet --define '_topdir /tmp/rpm' -bb /tmp/nginx.spec
mkdir -p "$root/srv/appstream"
cp "$root"/tmp/rpm/RPMS/*/*.rpm "$root/srv/appstream/"
chroot "$root" createrepo_c --quiet /srv/appstream

mkdir -p "$root/etc/yum.repos.d"
cat >"$root/etc/yum.repos.d/appstream.repo" <<'REPO'
[appstream]
name=Stand-in for AppStream
baseurl=file:///srv/appstream
enabled=1
gpgcheck=0
REPO

chroot "$root" dpkg --purge --force-depends nginx-light nginx nginx-common nginx-core >/dev/null 2>&1 || :
rm -rf "$root/etc/nginx" "$root/usr/share/nginx" "$root/var/log/nginx" "$root/var/lib/nginx" "$root"/tmp/*
rm -f "$root"/usr/bin/apt* "$root/etc/debian_version"
rm -f "$root/etc/os-release" "$root/usr/lib/os-release"
cat >"$root/etc/os-release" <<'RELEASE'
NAME="CentOS Stream"
VERSION="9"
ID="centos"
ID_LIKE="rhel fedora"
VERSION_ID="9"
PLATFORM_ID="platform:el9"
PRETTY_NAME="CentOS Stream 9 (stand-in: Debian inside)"
RELEASE
echo 'CentOS Stream release 9' | tee "$root/etc/centos-release" "$root/etc/redhat-release" >/dev/null
