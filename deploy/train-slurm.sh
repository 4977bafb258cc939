#!/usr/bin/env bash
# Thumbnet on several hosts with SLURM, one process per GPU.
#   sbatch deploy/train-slurm.sh strong runs/strong
# If the job is requeued or submitted again, it resumes the run.
#SBATCH --job-name=thumbnet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

if [[ $# -ne 2 ]]; then
  echo "usage: sbatch $0 RECIPE RUN" >&2
  exit 2
fi
recipe=$1 run=$2
export KERAS_BACKEND=jax

# Decided once for all processes, on the first host: rank 0 runs there and writes the run.
if [[ -f $run/recipe.toml ]]; then
  srun thumbnet train --resume "$run" --distributed
else
  srun thumbnet train "$recipe" --out "$run" --distributed
fi
