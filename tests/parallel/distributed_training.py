"""The command, for tests that start several processes: fast to start, with short timeouts.

    python tests/parallel/distributed_training.py HEARTBEAT_SECONDS JOIN_SECONDS ARGUMENT…

It writes a checkpoint after every step.
"""

import sys
from pathlib import Path

# With the JAX backend, Keras imports TensorFlow if it is installed, which takes seconds.
sys.path.insert(0, str(Path(__file__).parents[1]))
import without_tensorflow  # noqa: F401

# isort: split
from thumbnet import training
from thumbnet.cli import main
from thumbnet.parallel import processes
from thumbnet.training import checkpoints

if __name__ == "__main__":
    processes.HEARTBEAT_SECONDS, processes.JOIN_SECONDS = map(int, sys.argv[1:3])
    checkpoints.CHECKPOINT_SECONDS = 0.0
    training.sgemm_gflops = lambda: 100.0  # type: ignore[attr-defined]
    sys.argv = ["thumbnet", *sys.argv[3:]]
    main()
