#!/usr/bin/env bash
# One run on a Slurm allocation: a Ray head on the first node, a worker on each other one, then the job.
#   sbatch --nodes=4 jobs/slurm.sh alia_ray/recipes/imagefolder.yaml \
#     --set run.folder=/SHARED/runs/mine --set source.path=/SHARED/photos
# Python, with the versions that the tests ran on, on a filesystem that the nodes share, and on your PATH as you submit:
#   python3 -m venv /SHARED/alia && . /SHARED/alia/bin/activate
#   pip install --constraint constraints/gpu.txt --editable ".[gpu]"
# Loopback is not enough here: the nodes of the allocation must reach each other on RAY_PORT.
#SBATCH --job-name=alia-ray
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
set -euo pipefail

RAY_PORT=${RAY_PORT:-6379}
STARTS_WITHIN_S=${STARTS_WITHIN_S:-300}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}

# Since 22.05, srun gives a task one core unless it is told again what sbatch was told.
on() { # on NODES COMMAND …: once on each of the nodes, which are separated by commas
  local list=$1 count
  count=$(tr ',' '\n' <<<"$list" | wc -l)
  shift
  srun --nodes="$count" --ntasks="$count" --nodelist="$list" --cpus-per-task="$SLURM_CPUS_PER_TASK" "$@"
}

wait_for_nodes() { # wait_for_nodes COUNT: until so many nodes have joined
  local deadline=$((SECONDS + STARTS_WITHIN_S))
  until python3 -c "import ray; ray.init(log_to_driver=False); assert len(ray.nodes()) >= $1" 2>/dev/null; do
    if ((SECONDS > deadline)); then
      echo "error: not all of $1 nodes had joined Ray at $RAY_ADDRESS after $STARTS_WITHIN_S s" >&2
      exit 1
    fi
    sleep 2
  done
}

# Ray opens its own folder to everybody, and nodes may be shared. A job that was put back in the queue finds its own.
private=/tmp/alia-ray-$SLURM_JOB_ID
on "$(IFS=,; echo "${nodes[*]}")" bash -c "mkdir --mode=700 $private || { test ! -L $private && test -O $private && chmod 700 $private; }"

ip_addresses=$(on "$head" hostname --ip-address | tr ' ' '\n' | grep --extended-regexp '^[0-9]+(\.[0-9]+){3}$' || true)
head_ip=$(grep --invert-match --max-count=1 '^127\.' <<<"$ip_addresses") || {
  echo "error: $head has no IPv4 address that other nodes could reach, only: $ip_addresses" >&2
  exit 1
}
export RAY_ADDRESS="$head_ip:$RAY_PORT"
# Token authentication: every node must hold the same token.
export RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(python3 -c 'import secrets; print(secrets.token_hex(32))')}
export RAY_AUTH_MODE=token

on "$head" ray start --head --node-ip-address="$head_ip" --port="$RAY_PORT" \
  --temp-dir="$private/ray" --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block &
wait_for_nodes 1
if ((${#nodes[@]} > 1)); then
  others=$(IFS=,; echo "${nodes[*]:1}")
  on "$others" ray start --address="$RAY_ADDRESS" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block &
  wait_for_nodes "${#nodes[@]}"
fi

python3 jobs/run.py "$@"
