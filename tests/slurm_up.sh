#!/usr/bin/env bash
# A real SLURM of one node on the loopback address, from Debian packages, without systemd; needs root.
#   bash tests/slurm_up.sh up            installs what is missing and starts munged, slurmctld and slurmd
#   eval "$(bash tests/slurm_up.sh env)" lets this shell's sbatch, squeue and scontrol find it
#   bash tests/slurm_up.sh down          stops what it started
# CPUS=4 declares so many cores, whatever the machine has; SLURM_ROOT is where its files lie.
set -euo pipefail
root=${SLURM_ROOT:-${TMPDIR:-/tmp}/slurm-of-one-node}
cpus=${CPUS:-$(nproc)}
host=$(hostname -s)
export SLURM_CONF=$root/slurm.conf

lives() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

installed() {
  local missing=() policy=/usr/sbin/policy-rc.d
  for package in munge slurmctld slurmd slurm-client; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  apt-get update -qq
  if [ ! -e $policy ]; then # packages do not start their services here
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap "rm -f $policy" EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

configured() {
  mkdir -p "$root"/{state,spool,log,run}
  cat >"$SLURM_CONF" <<END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool
SlurmctldPidFile=$root/run/slurmctld.pid
SlurmdPidFile=$root/run/slurmd.pid
SlurmctldLogFile=$root/log/slurmctld.log
SlurmdLogFile=$root/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=5
JobRequeue=1
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$(awk '/MemTotal/{print int($2 / 1024) - 512}' /proc/meminfo)
PartitionName=main Nodes=$host Default=YES MaxTime=1-0 State=UP
END
}

up() {
  [ "$(id -u)" = 0 ] || { echo "slurm_up.sh: it must be run as root, but is run by $(id -un)" >&2; exit 2; }
  installed
  configured
  [ -s /etc/munge/munge.key ] || /usr/sbin/mungekey --create
  chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
  install -d -o munge -g munge -m 755 /run/munge
  install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge
  lives /run/munge/munged.pid || { runuser -u munge -- /usr/sbin/munged --force; touch "$root/run/own-munge"; }
  lives "$root/run/slurmctld.pid" || /usr/sbin/slurmctld
  lives "$root/run/slurmd.pid" || /usr/sbin/slurmd
  for _ in $(seq 60); do
    sinfo -h -o %T 2>/dev/null | grep -qE 'idle|mixed|allocated' && break
    sleep 0.5
  done
  sinfo
}

down() {
  for pid in "$root/run/slurmd.pid" "$root/run/slurmctld.pid"; do
    if lives "$pid"; then kill "$(cat "$pid")"; fi
  done
  if [ -e "$root/run/own-munge" ] && lives /run/munge/munged.pid; then
    kill "$(cat /run/munge/munged.pid)"
    rm "$root/run/own-munge"
  fi
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  *) echo "usage: $0 up|env|down" >&2; exit 2 ;;
esac
