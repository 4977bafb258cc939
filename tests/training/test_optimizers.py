import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnet.errors import InputError
from thumbnet.recipe import Optimizer, Schedule
from thumbnet.runtime import prepare_keras
from thumbnet.training.optimizers import build_optimizer, lr_multiplier

DECAYS = ("constant", "linear", "cosine")


@pytest.mark.parametrize("decay", DECAYS)
def test_the_learning_rate_rises_to_its_peak_and_decays_to_its_end(decay: str) -> None:
    schedule = Schedule.model_validate({"decay": decay, "warmup": 0.2, "final": 0.1})
    assert lr_multiplier(schedule, 0, step=0.05) == pytest.approx(0.25)
    assert lr_multiplier(schedule, 0.1, step=0.05) == pytest.approx(0.75)
    assert lr_multiplier(schedule, 0.15, step=0.05) == pytest.approx(1)
    assert lr_multiplier(schedule, 0.2) == pytest.approx(1)
    assert lr_multiplier(schedule, 1) == pytest.approx(1 if decay == "constant" else 0.1)


def test_the_middle_of_the_decay() -> None:
    linear = Schedule(decay="linear")
    assert lr_multiplier(linear, 0.25) == pytest.approx(0.75)
    cosine = Schedule(decay="cosine")
    assert lr_multiplier(cosine, 0.25) == pytest.approx((1 + np.cos(np.pi / 4)) / 2)


@given(
    st.sampled_from(DECAYS), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)
)
def test_the_multiplier_stays_between_0_and_1_and_never_rises_after_the_peak(
    decay: str, warmup: float, final: float, one: float, other: float
) -> None:
    schedule = Schedule.model_validate({"decay": decay, "warmup": warmup, "final": final})
    early, late = sorted((one, other))
    multipliers = [lr_multiplier(schedule, progress) for progress in (early, late)]
    assert all(-1e-9 <= multiplier <= 1 + 1e-9 for multiplier in multipliers)
    if early >= warmup:
        assert multipliers[1] <= multipliers[0] + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["muon", "sgd", "adamw"])
def test_each_optimizer_descends(name: str) -> None:
    keras = prepare_keras()
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(64, 8)).astype("f"), random.integers(3, size=64)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Dense(3, name="logits"),
        ]
    )
    chosen = Optimizer.model_validate({"name": name, "learning_rate": 0.05})
    model.compile(
        build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    losses = [float(model.train_on_batch(x, y)) for _ in range(100)]
    assert losses[-1] < losses[0] / 2


def test_a_muon_step_has_the_size_of_the_learning_rate_in_every_direction() -> None:
    from thumbnet.training.muon import Muon

    keras = prepare_keras()
    kernel = keras.Variable(np.random.default_rng(0).normal(size=(3, 3, 4, 6)), name="kernel")
    optimizer = Muon(0.1, momentum=0.0)
    optimizer.build([kernel])
    gradient = np.random.default_rng(1).normal(size=(3, 3, 4, 6)).astype("f")
    before = np.asarray(kernel).reshape(-1, 6)
    before *= np.sqrt(6) / np.linalg.norm(before)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
    step = before - np.asarray(kernel).reshape(-1, 6)
    singular_values = np.linalg.svd(step, compute_uv=False)
    assert singular_values == pytest.approx(0.1 * np.ones(6), rel=0.35)
    # Step and gradient have the same singular vectors.
    assert (np.linalg.eigvals(step.T @ gradient.reshape(-1, 6)).real > 0).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(-6, 0))
@settings(max_examples=25, deadline=None)
def test_a_muon_step_is_three_iterations_of_the_quintic(
    inputs: int, outputs: int, weakest: int
) -> None:
    from thumbnet.training.muon import NEWTON_SCHULZ, Muon

    keras = prepare_keras()
    random = np.random.default_rng([inputs, outputs])
    short = min(inputs, outputs)
    left = np.linalg.qr(random.normal(size=(inputs, inputs)))[0][:, :short]
    right = np.linalg.qr(random.normal(size=(outputs, outputs)))[0][:short]
    strength = np.logspace(0, weakest, short)
    kernel = keras.Variable(np.ones((inputs, outputs)), name="kernel")
    optimizer = Muon(1.0, momentum=0.0)
    optimizer.build([kernel])
    before = np.asarray(kernel) * np.sqrt(short / (inputs * outputs))
    gradient = ((left * strength) @ right).astype("f")
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [kernel])

    a, b, c = NEWTON_SCHULZ
    expected = strength / np.linalg.norm(strength)
    for _ in range(3):
        expected = a * expected + b * expected**3 + c * expected**5
    assert before - np.asarray(kernel) == pytest.approx((left * expected) @ right, abs=1e-4)


def test_weight_decay_without_effect_is_refused() -> None:
    settings = Optimizer(name="muon", weight_decay=0.01)
    with pytest.raises(InputError, match=r"weight_decay = 0.01 has no effect with muon"):
        build_optimizer(settings)


def test_muon_survives_saving() -> None:
    from thumbnet.training.muon import Muon

    keras = prepare_keras()
    optimizer = Muon(0.3, adam_lr_ratio=0.1, momentum=0.7)
    config = keras.optimizers.serialize(optimizer)
    assert keras.optimizers.deserialize(config).get_config() == optimizer.get_config()
