#!/bin/sh
# Installs what tests make their hosts of, where that is missing and this is Debian.
# Without it the tests say what is missing, and are skipped.
set -u
[ "$(id -u)" = 0 ] || exit 0
PATH="$PATH:/usr/sbin"
if command -v sshd >/dev/null && command -v ip >/dev/null; then exit 0; fi
command -v apt-get >/dev/null || exit 0
echo "Installing openssh-server and iproute2 ..."
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends openssh-server iproute2 >/dev/null 2>&1 ||
  { apt-get update -qq && apt-get install -qq -y --no-install-recommends \
    openssh-server iproute2; } >/dev/null 2>&1 || true
