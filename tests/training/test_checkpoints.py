from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thumbnet.errors import InputError, JobError
from thumbnet.runtime import prepare_keras
from thumbnet.training.checkpoints import (
    restore_checkpoint,
    save_checkpoint,
    set_weights,
    weights_of,
)


def make_model(width: int = 3, value: float = 1.0) -> Any:
    keras = prepare_keras()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width)])
    model.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    model.optimizer.build(model.trainable_variables)
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(np.full(variable.shape, value).astype(variable.dtype))
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a checkpoint of step 2, of a model whose weights are all 2."""
    directory = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(directory, make_model(value=2.0), 2, {"step": 2}, {}, {})
    return (directory / "step-000000002.npz").read_bytes()


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model(value=0.0)


def values(model: Any) -> set[float]:
    arrays = [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]]
    return {float(value) for array in arrays for value in array.ravel()}


def test_a_checkpoint_restores_everything(tmp_path: Path, model: Any) -> None:
    other = make_model(value=3.0)
    best = weights_of(other)
    save_checkpoint(tmp_path, make_model(value=2.0), 7, {"step": 7, "note": "ä"}, best, {})
    restored = restore_checkpoint(tmp_path, model)
    assert restored is not None
    assert restored[0] == {"step": 7, "note": "ä"}
    assert values(model) == {2.0}
    set_weights(model, restored[1])
    assert {float(v) for variable in model.variables for v in np.ravel(variable)} == {3.0}


def test_a_missing_checkpoint_is_not_an_error(tmp_path: Path, model: Any) -> None:
    assert restore_checkpoint(tmp_path, model) is None


def test_the_last_two_are_kept(tmp_path: Path, model: Any) -> None:
    for step in (1, 20, 300):
        save_checkpoint(tmp_path, model, step, {}, {}, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step-000000020.npz",
        "step-000000300.npz",
    ]


@pytest.mark.slow
@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_is_detected_and_the_previous_checkpoint_used(
    tmp_path_factory: pytest.TempPathFactory, written: bytes, model: Any, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    save_checkpoint(directory, make_like(model, 1.0), 1, {"step": 1}, {}, {})
    content = bytearray(written)
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    (directory / "step-000000002.npz").write_bytes(content)
    restored = restore_checkpoint(directory, make_like(model, 0.0))
    assert restored is not None
    step = restored[0]["step"]
    assert step in (1, 2)  # 2: the byte has no effect, as in a date
    assert values(model) == {float(step)}


def make_like(model: Any, value: float) -> Any:
    """The same model with different weights; building one takes longer than the test."""
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(np.full(variable.shape, value).astype(variable.dtype))
    return model


def test_if_all_checkpoints_are_damaged_the_message_names_them(tmp_path: Path, model: Any) -> None:
    for step in (1, 2):
        (tmp_path / f"step-00000000{step}.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"step-000000002.npz is damaged.*; .*01.npz is damaged"):
        restore_checkpoint(tmp_path, model)


def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(
    tmp_path: Path, model: Any
) -> None:
    save_checkpoint(tmp_path, make_model(width=4), 1, {}, {}, {})
    make_like(model, 5.0)
    with pytest.raises(InputError, match=r"belongs to another model: model_0 has shape \(2, 4\)"):
        restore_checkpoint(tmp_path, model)
    assert values(model) == {5.0}


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, model: Any) -> None:
    save_checkpoint(tmp_path, make_like(model, 1.0), 1, {"step": 1}, {}, {})
    model.variables[0].assign(np.full((2, 3), np.nan))
    with pytest.raises(JobError, match=r"NaN or infinite by step 2; lower optimizer.learning_rate"):
        save_checkpoint(tmp_path, model, 2, {"step": 2}, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.npz"]
