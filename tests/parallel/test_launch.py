import pytest

from thumbnet.errors import InputError
from thumbnet.parallel.launch import Launch, read_launch

JAX = {"JAX_COORDINATOR_ADDRESS": "node0:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}
TORCHRUN = {"MASTER_ADDR": "node0", "MASTER_PORT": "29500", "WORLD_SIZE": "4", "RANK": "2"}
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NODELIST": "node[001-004]",
}


@pytest.mark.parametrize(
    ("environ", "launch"),
    [
        (JAX, Launch("node0:1234", 4, 2)),
        (JAX | {"JAX_COORDINATOR_ADDRESS": "[::1]:1234"}, Launch("[::1]:1234", 4, 2)),
        (
            {"JAX_COORDINATOR_ADDRESS": "job-0.job:1234", "JAX_NUM_PROCESSES": "2"}
            | {"JOB_COMPLETION_INDEX": "1"},
            Launch("job-0.job:1234", 2, 1),
        ),
        (TORCHRUN, Launch("node0:29500", 4, 2)),
        (TORCHRUN | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, Launch("node0:29500", 4, 2, 0)),
        (TORCHRUN | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, Launch("node0:29500", 4, 2)),
        (TORCHRUN | {"TORCHELASTIC_USE_AGENT_STORE": "True"}, Launch("node0:29501", 4, 2)),
        (SLURM, Launch("node001:61441", 4, 2)),
        (SLURM | JAX, Launch("node0:1234", 4, 2)),
        (SLURM | {"SLURM_STEP_NODELIST": "a,b"}, Launch("a:61441", 4, 2)),
        (SLURM | {"SLURM_STEP_NODELIST": "n[7,9]-ib,b"}, Launch("n7-ib:61441", 4, 2)),
    ],
)
def test_launcher_variables_are_read(environ: dict[str, str], launch: Launch) -> None:
    assert read_launch({"PATH": "/bin", **environ}) == launch


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "no launcher's variables are set; start the processes with srun"),
        (
            {"JOB_COMPLETION_INDEX": "0"},
            "JOB_COMPLETION_INDEX is set but JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES are not",
        ),
        ({**SLURM, "SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST is not set"),
        ({**SLURM, "SLURM_STEP_NODELIST": ",b"}, "SLURM_STEP_NODELIST names no host"),
        ({**SLURM, "SLURM_JOB_ID": "x"}, "SLURM_JOB_ID must be a whole number, got 'x'"),
        ({**TORCHRUN, "RANK": "4"}, "RANK=4 must be below WORLD_SIZE=4"),
        ({**TORCHRUN, "RANK": "-1"}, "RANK must be a whole number, got '-1'"),
        ({**JAX, "JAX_COORDINATOR_ADDRESS": "node0"}, "must be HOST:PORT, got 'node0'"),
        *(
            ({key: text for key, text in family.items() if key != name}, f"{name} is not set")
            for family in (JAX, TORCHRUN, SLURM)
            for name in family
            if name not in ("SLURM_PROCID", "MASTER_ADDR")
        ),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "1"}, "MASTER_ADDR is not set"),
    ],
)
def test_the_message_names_the_missing_or_invalid_variable(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        read_launch(environ)
    assert message in str(raised.value)
