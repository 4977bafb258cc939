"""The command, for tests that start it as several processes: quick to start, short of patience.

    python tests/distributed_training.py HEARTBEAT_SECONDS JOIN_SECONDS ARGUMENT…

A checkpoint is written after every step.
"""

import sys

# Keras on JAX imports TensorFlow where it is, which takes seconds.
import without_tensorflow  # noqa: F401

# isort: split
from thumbnet import distributed, loop, training
from thumbnet.cli import main

if __name__ == "__main__":
    distributed.HEARTBEAT_SECONDS, distributed.JOIN_SECONDS = map(int, sys.argv[1:3])
    loop.CHECKPOINT_SECONDS = 0.0
    training.sgemm_gflops = lambda: 100.0  # type: ignore[attr-defined]
    sys.argv = ["thumbnet", *sys.argv[3:]]
    main()
