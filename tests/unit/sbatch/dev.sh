# array 1: 1 job(s), first fp32
#!/bin/bash

# Parameters
#SBATCH --chdir=/data/results/sweeps/20260101T000000-0123abcd
#SBATCH --cpus-per-task=1
#SBATCH --job-name=lowbit-0123abcd-cell
#SBATCH --mem=1536MB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/data/results/sweeps/20260101T000000-0123abcd/logs/%j_0_log.out
#SBATCH --partition=main
#SBATCH --requeue
#SBATCH --signal=USR2@20
#SBATCH --time=60
#SBATCH --wckey=submitit

# setup
export PYTHONPATH=/data/results/code/tttttttttttttttttttttttttttttttttttttttt"${PYTHONPATH:+:$PYTHONPATH}"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /data/results/sweeps/20260101T000000-0123abcd/logs/%j_%t_log.out --kill-on-bad-exit=1 sh -c 'trap "" USR2 TERM; exec "$0" "$@"' /env/bin/python -u -m submitit.core._submit /data/results/sweeps/20260101T000000-0123abcd/logs


# teardown
code=$?
tail -n 20 /data/results/sweeps/20260101T000000-0123abcd/logs/"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}_0_log.out" | grep -qiE "exceeded (job|step)? ?memory limit|oom.?kill" && [ "$code" = 137 ] && code=12
echo "$code" > /data/results/sweeps/20260101T000000-0123abcd/exits/"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
exit "$code"
# array 2: 1 job(s), first labels-0
#!/bin/bash

# Parameters
#SBATCH --chdir=/data/results/sweeps/20260101T000000-0123abcd
#SBATCH --cpus-per-task=1
#SBATCH --dependency='afterany:<array 1>'
#SBATCH --job-name=lowbit-0123abcd-labels
#SBATCH --mem=1536MB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/data/results/sweeps/20260101T000000-0123abcd/logs/%j_0_log.out
#SBATCH --partition=main
#SBATCH --requeue
#SBATCH --signal=USR2@20
#SBATCH --time=60
#SBATCH --wckey=submitit

# setup
export PYTHONPATH=/data/results/code/tttttttttttttttttttttttttttttttttttttttt"${PYTHONPATH:+:$PYTHONPATH}"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /data/results/sweeps/20260101T000000-0123abcd/logs/%j_%t_log.out --kill-on-bad-exit=1 sh -c 'trap "" USR2 TERM; exec "$0" "$@"' /env/bin/python -u -m submitit.core._submit /data/results/sweeps/20260101T000000-0123abcd/logs


# teardown
code=$?
tail -n 20 /data/results/sweeps/20260101T000000-0123abcd/logs/"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}_0_log.out" | grep -qiE "exceeded (job|step)? ?memory limit|oom.?kill" && [ "$code" = 137 ] && code=12
echo "$code" > /data/results/sweeps/20260101T000000-0123abcd/exits/"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
exit "$code"
# array 3: 2 job(s), first cell-0
#!/bin/bash

# Parameters
#SBATCH --array=0-1%2
#SBATCH --chdir=/data/results/sweeps/20260101T000000-0123abcd
#SBATCH --cpus-per-task=1
#SBATCH --dependency='afterany:<array 1>:<array 2>'
#SBATCH --job-name=lowbit-0123abcd-cell
#SBATCH --mem=1536MB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/data/results/sweeps/20260101T000000-0123abcd/logs/%A_%a_0_log.out
#SBATCH --partition=main
#SBATCH --requeue
#SBATCH --signal=USR2@20
#SBATCH --time=60
#SBATCH --wckey=submitit

# setup
export PYTHONPATH=/data/results/code/tttttttttttttttttttttttttttttttttttttttt"${PYTHONPATH:+:$PYTHONPATH}"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /data/results/sweeps/20260101T000000-0123abcd/logs/%A_%a_%t_log.out --kill-on-bad-exit=1 sh -c 'trap "" USR2 TERM; exec "$0" "$@"' /env/bin/python -u -m submitit.core._submit /data/results/sweeps/20260101T000000-0123abcd/logs


# teardown
code=$?
tail -n 20 /data/results/sweeps/20260101T000000-0123abcd/logs/"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}_0_log.out" | grep -qiE "exceeded (job|step)? ?memory limit|oom.?kill" && [ "$code" = 137 ] && code=12
echo "$code" > /data/results/sweeps/20260101T000000-0123abcd/exits/"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
exit "$code"