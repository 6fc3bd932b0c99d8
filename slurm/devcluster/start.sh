#!/bin/bash
# Starts a SLURM of four virtual nodes with four fake A100s each, on this machine, as root.
#
#   slurm/devcluster/start.sh FOLDER      then: export SLURM_CONF=FOLDER/slurm.conf
#
# Variables: ACCOUNTING=no (no sacct; starts faster), MAX_ARRAY (MaxArraySize, default 1001),
# PORTS (first of eight ports, default 26810). Everything it starts and writes is in FOLDER, and
# stop.sh FOLDER ends it. Starting again what runs already changes nothing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=${1:?usage: start.sh FOLDER}
ACCOUNTING=${ACCOUNTING:-yes}
MAX_ARRAY=${MAX_ARRAY:-1001}
PORTS=${PORTS:-26810}
host=$(hostname -s)

if [[ ! $root =~ ^/[A-Za-z0-9._/-]+$ ]]; then
  echo "The folder must be an absolute path of plain characters, not '$root'." >&2
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  echo "The dev cluster runs its daemons as root; this is user $(id -un)." >&2
  exit 3
fi
for program in munged slurmctld slurmd; do
  if ! command -v "$program" > /dev/null; then
    echo "$program is missing: apt-get install -y --no-install-recommends slurm-wlm munge" \
      "slurmdbd mariadb-server" >&2
    exit 3
  fi
done

running() { # the process of a pid file
  [ -s "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null
}

until_true() { # seconds, then a command
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "This did not come true in time: $*; see $root/log" >&2
      return 1
    fi
    sleep 0.1
  done
}

filled() { # a template of this folder, with its places filled in
  sed -e "s|@ROOT@|$root|g" -e "s|@HOST@|$host|g" -e "s|@MAX_ARRAY@|$MAX_ARRAY|g" \
    -e "s|@CONTROLLER_PORT@|$PORTS|g" -e "s|@ACCOUNTING_PORT@|$((PORTS + 1))|g" \
    -e "s|@DATABASE_PORT@|$((PORTS + 2))|g" -e "s|@NODE_PORTS@|$((PORTS + 4))-$((PORTS + 7))|g" \
    -e "s|@ACCOUNTING@|$(accounting)|g" "$here/$1.in"
}

accounting() { # lines of slurm.conf, for sed; sacct must be told of this cluster's munge, too
  if [ "$ACCOUNTING" = yes ]; then
    printf '%s\\n' "AccountingStorageType=accounting_storage/slurmdbd" \
      "AccountingStorageHost=$host" "AccountingStoragePort=$((PORTS + 1))" \
      "AccountingStoragePass=$root/munge.sock" "AccountingStorageTRES=gres/gpu"
  else
    printf 'AccountingStorageType=accounting_storage/none'
  fi
}

start_munge() {
  if [ ! -s "$root/munge.key" ]; then
    (umask 077 && head -c 1024 /dev/urandom > "$root/munge.key")
  fi
  running "$root/munged.pid" || munged --force --socket="$root/munge.sock" \
    --key-file="$root/munge.key" --pid-file="$root/munged.pid" \
    --log-file="$root/log/munged.log" --seed-file="$root/munge.seed"
}

start_database() { # MariaDB, reachable from this machine alone
  local socket="$root/mariadb.sock"
  running "$root/mariadb.pid" && return
  [ -d "$root/db/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$root/db" \
    --auth-root-authentication-method=normal --skip-test-db > "$root/log/mariadb-install.log" 2>&1
  nohup mariadbd --no-defaults --user=root --datadir="$root/db" --socket="$socket" \
    --pid-file="$root/mariadb.pid" --bind-address=127.0.0.1 --port=$((PORTS + 2)) \
    --skip-name-resolve --innodb-buffer-pool-size=64M --innodb-log-file-size=48M \
    --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --skip-log-bin \
    > "$root/log/mariadb.log" 2>&1 < /dev/null &
  until_true 60 mariadb-admin --no-defaults --socket="$socket" ping
  mariadb --no-defaults --socket="$socket" -u root -e "
    create database if not exists slurm_acct_db;
    create user if not exists slurm@127.0.0.1 identified by 'slurm';
    grant all on slurm_acct_db.* to slurm@127.0.0.1;"
}

start_accounting() {
  running "$root/slurmdbd.pid" || slurmdbd
  until_true 60 sacctmgr -n list cluster
  sacctmgr -n list cluster format=cluster | grep -qw lowbit || sacctmgr -i add cluster lowbit \
    > /dev/null
}

start_nodes() {
  for node in node1 node2 node3 node4; do
    mkdir -p "$root/spool-$node"
    running "$root/slurmd-$node.pid" || slurmd -N "$node"
  done
}

all_idle() {
  [ "$(sinfo -h -p main -t idle -o %D)" = 4 ]
}

mkdir -p "$root"/{state,log,gpus}
export SLURM_CONF="$root/slurm.conf"
filled slurm.conf > "$root/slurm.conf"
filled gres.conf > "$root/gres.conf"
(umask 077 && filled slurmdbd.conf > "$root/slurmdbd.conf")
for number in 0 1 2 3; do
  [ -c "$root/gpus/gpu$number" ] || mknod "$root/gpus/gpu$number" c 1 3
done

start_munge
if [ "$ACCOUNTING" = yes ]; then
  start_database
  start_accounting
fi
running "$root/slurmctld.pid" || slurmctld
until_true 60 scontrol ping
start_nodes
until_true 60 all_idle
echo "export SLURM_CONF=$SLURM_CONF"
