#!/usr/bin/env bash
# One run on a Slurm allocation: a Ray head on the first node, a worker on each other one, then the job.
#   sbatch --nodes=4 jobs/slurm.sh jobs/recipes/imagefolder.yaml --set run.folder=SHARED/runs/mine
# Loopback is not enough here: the nodes of the allocation must reach each other on RAY_PORT.
#SBATCH --job-name=alia-ray
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
set -euo pipefail

RAY_PORT=${RAY_PORT:-6379}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
export RAY_ADDRESS="$head_ip:$RAY_PORT"
# Token authentication: every node must hold the same token.
export RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(python3 -c 'import secrets; print(secrets.token_hex(32))')}
export RAY_AUTH_MODE=token

srun --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --node-ip-address="$head_ip" --port="$RAY_PORT" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block &
sleep 20
if ((${#nodes[@]} > 1)); then
  others=$(IFS=,; echo "${nodes[*]:1}")
  srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --nodelist="$others" \
    ray start --address="$RAY_ADDRESS" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block &
  sleep 20
fi

python3 jobs/run.py "$@"
