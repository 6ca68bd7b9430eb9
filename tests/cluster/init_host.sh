#!/bin/bash
# What process 1 of a host does, in namespaces of its own:  init_host.sh NAME STATE
set -eu
name=$1 state=$2
hostname "$name"
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
# Session folders of MPI have names made of process ids, which hosts have in common.
mount -t tmpfs tmpfs "$state/$name/tmp"
chmod 1777 "$state/$name/tmp"
# The project, where it lies there itself.
for folder in ${HOSTS_SHARED:-}; do
  mkdir -p "$state/$name/tmp/${folder#/tmp/}"
  mount --bind "$folder" "$state/$name/tmp/${folder#/tmp/}"
done
mount --rbind "$state/$name/tmp" /tmp
mount --bind "$state/$name/hosts" /etc/hosts
mount --bind "$state/ssh_config" /etc/ssh/ssh_config
# Packages that nobody else is to have on the PATH.
if [ -n "${HOSTS_OVERLAY:-}" ]; then
  mount -t overlay overlay -o "lowerdir=$HOSTS_OVERLAY:/usr" /usr
fi
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f "$state/sshd_config" 2> "$state/$name/sshd.log"
