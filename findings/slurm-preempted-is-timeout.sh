#!/usr/bin/env bash
# Slurm calls a job TIMEOUT that had no time limit and ended with exit code 0, if a preemption had begun: afterok then never comes true.
#
# One would guess that a job which ends by itself before Slurm takes it away for a more urgent one is COMPLETED, and that "afterok" asks for exit code
# 0. But a preemption with a period of grace writes the end of that period into the job as its end. Slurm looks for jobs past their end only now and
# then. A job that ends well in between counts as one that ran out of time, though its limit is UNLIMITED, it got no signal, and its exit code is 0:0.
# A job that depends on it with afterok waits for ever, or is cancelled where --kill-on-invalid-dep=yes was given; an array's is, for one such task.
#
# Seen with Slurm 22.05.8 (Debian 12), preempt/partition_prio, PreemptMode=REQUEUE and GraceTime.
# It matters for what follows an array of long jobs on a cluster with preemption: nothing is missing, and it never starts.
# Instead: depend with afterany, and let the job itself see whether all is there.
#
# It needs Debian 12 with what Slurm's packages need beside themselves (libhwloc15, libjson-c5, liblua5.1-0, libnuma1, libreadline8, liblz4-1), and
# installs nothing: the packages are unpacked in a temporary folder.
set -euo pipefail
tmp=$(mktemp -d)
version=22.05.8-4+deb12u3
munge=0.5.15-2+deb12u1
end() {
    for file in "$tmp"/*.pid; do if [ -s "$file" ]; then kill -9 "$(cat "$file")" 2>/dev/null || true; fi; done
    sleep 1
    rm -rf "$tmp"
}
trap end EXIT

mkdir "$tmp/debs" "$tmp/root" "$tmp/state" "$tmp/spool"
(cd "$tmp/debs" && apt-get download -q "slurmctld=$version" "slurmd=$version" "slurm-client=$version" \
    "slurm-wlm-basic-plugins=$version" "munge=$munge" "libmunge2=$munge" >/dev/null 2>&1)
for deb in "$tmp"/debs/*.deb; do dpkg -x "$deb" "$tmp/root"; done
for name in slurmctld slurmd slurmstepd; do ln -s "$name-wlm" "$tmp/root/usr/sbin/$name"; done
lib=$tmp/root/usr/lib/x86_64-linux-gnu
export PATH="$tmp/root/usr/bin:$tmp/root/usr/sbin:$PATH" LD_LIBRARY_PATH="$lib:$lib/slurm-wlm" SLURM_CONF="$tmp/slurm.conf"
port=$(shuf -n 1 -i 20000-30000)
cat >"$SLURM_CONF" <<EOF
ClusterName=finding
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$tmp/munge.socket
PluginDir=$lib/slurm-wlm
StateSaveLocation=$tmp/state
SlurmctldPidFile=$tmp/slurmctld.pid
SlurmctldLogFile=$tmp/slurmctld.log
SlurmdSpoolDir=$tmp/spool
SlurmdPidFile=$tmp/slurmd.pid
SlurmdLogFile=$tmp/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=60,bf_interval=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=one NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=1
PartitionName=main Nodes=one Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=2 MaxTime=INFINITE
PartitionName=urgent Nodes=one PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
EOF
(umask 077; head -c 128 /dev/urandom >"$tmp/munge.key")
munged --force --key-file="$tmp/munge.key" --socket="$tmp/munge.socket" --pid-file="$tmp/munged.pid" --log-file="$tmp/munged.log" \
    --seed-file="$tmp/munged.seed" 2>/dev/null
slurmctld -c
slurmd -N one -d "$tmp/root/usr/sbin/slurmstepd"
for _ in $(seq 50); do
    if [ "$(sinfo --noheader --format=%T 2>/dev/null | head -n 1)" = idle ]; then break; fi
    sleep 0.5
done
wrap() { sbatch --parsable --output=/dev/null "$@"; }
# Under it the preemption comes, whose two seconds of grace are over long before it ends.
first=$(wrap --wrap "sleep 12")
after=$(wrap --dependency="afterok:$first" --wrap true)
sleep 3
urgent=$(wrap --partition=urgent --wrap true)
state() { scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z]*\) Reason=\([A-Za-z]*\).*/\1 \2/p'; }
field() { scontrol show job "$1" | grep -o "$2=[^ ]*"; }
for _ in $(seq 60); do
    if [ "$(state "$urgent")" = "COMPLETED None" ] && [ "$(state "$first" | cut -d " " -f 1)" != RUNNING ]; then break; fi
    sleep 1
done
# What depends on it is looked at within the minute.
for _ in $(seq 70); do
    case $(state "$after") in *" Dependency") sleep 1 ;; *) break ;; esac
done
{
    echo "the job: $(state "$first"), $(field "$first" TimeLimit), $(field "$first" ExitCode), $(field "$first" Restarts)"
    echo "afterok: $(state "$after")"
} >"$tmp/seen"
cat >"$tmp/expected" <<'EOF_EXPECTED'
the job: TIMEOUT TimeLimit, TimeLimit=UNLIMITED, ExitCode=0:0, Restarts=0
afterok: PENDING DependencyNeverSatisfied
EOF_EXPECTED
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
cat "$tmp/seen"
echo "ok: Slurm 22.05.8 counts a job that ended well in a preemption's wake as timed out"
