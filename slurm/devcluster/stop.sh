#!/bin/bash
# Ends the cluster that start.sh started in FOLDER, by its pid files: jobs, nodes, controller,
# accounting, database, munge.
set -uo pipefail

root=${1:?usage: stop.sh FOLDER}
export SLURM_CONF="$root/slurm.conf"

ended() { # waits for processes to end, 15 s each, then kills them
  local pid
  for pid in "$@"; do
    for _ in $(seq 150); do
      kill -0 "$pid" 2> /dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2> /dev/null
  done
}

end() { # the processes of pid files, together
  local file pids=()
  for file in "$@"; do
    [ -s "$file" ] || continue
    pids+=("$(cat "$file")")
    kill "${pids[-1]}" 2> /dev/null
  done
  [ ${#pids[@]} -eq 0 ] || ended "${pids[@]}"
  rm -f "$@"
}

if [ -s "$root/slurmctld.pid" ] && kill -0 "$(cat "$root/slurmctld.pid")" 2> /dev/null; then
  scancel --user="$(id -un)" 2> /dev/null
  sleep 1
fi
end "$root"/slurmd-node*.pid
end "$root/slurmctld.pid"
end "$root/slurmdbd.pid"
end "$root/mariadb.pid" "$root/munged.pid"
exit 0
