#!/bin/sh
# Installs what tests make their hosts of, where that is missing and this is Debian.
# With the word "all" also Java, for Spark, and what only the hosts have: Slurm, whose
# packages are unpacked, and MPICH, in an environment above that of PYTHON. Without any of it the tests say
# what is missing, and are skipped.
set -u
[ "$(id -u)" = 0 ] || exit 0
PATH="$PATH:/usr/sbin"
cache=/var/cache/fdt-hosts
export DEBIAN_FRONTEND=noninteractive

apt() {
  apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=60 "$@" >/dev/null 2>&1
}

install_hosts() {
  echo "Installing openssh-server and iproute2 ..."
  apt install openssh-server iproute2 ||
    { apt update && apt install openssh-server iproute2; } || true
}

unpack_slurm() {
  echo "Unpacking Slurm into $cache/slurm ..."
  rm -rf "$cache/slurm"
  mkdir -p "$cache/slurm/debs/partial"
  set -- install --download-only -o Dir::Cache::archives="$cache/slurm/debs" \
    -o APT::Sandbox::User=root slurmd slurmctld slurm-client munge libpmix2
  apt "$@" || { apt update && apt "$@"; } || return
  for package in "$cache"/slurm/debs/*.deb; do dpkg -x "$package" "$cache/slurm"; done
  # Names that the packages' own scripts give.
  for program in slurmd slurmctld slurmstepd; do
    [ ! -e "$cache/slurm/usr/sbin/$program-wlm" ] ||
      ln -sf "$program-wlm" "$cache/slurm/usr/sbin/$program"
  done
  # Slurm loads it by a name that only the package of headers has.
  for library in "$cache"/slurm/usr/lib/*/pmix2/lib/libpmix.so.2; do
    ln -sf "$(basename "$library")" "${library%.2}"
  done
}

install_mpich() {
  echo "Installing MPICH into $cache/mpich ..."
  rm -rf "$cache/mpich"
  "$PYTHON" -m venv --without-pip "$cache/mpich" || return
  "$PYTHON" -m pip --python "$cache/mpich/bin/python" install --quiet mpich mpi4py ||
    return
  # All else is that of PYTHON.
  "$PYTHON" - "$cache"/mpich/lib/python*/site-packages <<'EOF'
import pathlib, sys, sysconfig
place = sysconfig.get_path("purelib")
line = f"import site; site.addsitedir({place!r})\n"
pathlib.Path(sys.argv[1], "above.pth").write_text(line)
EOF
}

if command -v apt-get >/dev/null; then
  command -v sshd >/dev/null && command -v ip >/dev/null || install_hosts
  [ "${1:-}" != all ] || command -v java >/dev/null || apt install default-jre-headless
  [ "${1:-}" != all ] || [ -e "$cache/slurm/usr/sbin/slurmd" ] || unpack_slurm
fi
if [ "${1:-}" = all ] && [ -n "${PYTHON:-}" ]; then
  [ -e "$cache"/mpich/lib/python*/site-packages/above.pth ] || install_mpich
fi
exit 0
