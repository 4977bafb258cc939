"""The Muon optimizer: steps of equal size in every direction of a kernel."""

import math
from typing import Any

from thumbnet.runtime import prepare_keras

keras = prepare_keras()
ops = keras.ops

# A quintic with a steep slope at zero (Jordan et al. 2024, kellerjordan.github.io/posts/muon):
# a few iterations bring all singular values close to one.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_ROUNDS = 3


@keras.saving.register_keras_serializable(package="thumbnet")
class Muon(keras.optimizers.Optimizer):  # type: ignore[misc, name-defined]
    """Muon for the kernels of hidden layers, Adam for the rest.

    A hidden kernel is treated as a matrix of inputs by outputs. Its step is the orthogonal matrix
    nearest to the Nesterov momentum of its gradients. Before the step, the kernel's norm is set to
    that of an orthogonal matrix, so that a learning rate of 0.1 changes every kernel by a tenth of
    its norm. A normalisation layer must follow each kernel, or the fixed norm would limit the
    model.

    Biases, batch normalisation and the layer named "logits" are left to Adam.
    `keras.optimizers.Muon` leaves convolutions to Adam as well; they are most of our parameters.

    Source: Jordan et al. 2024; the fixed norm and the three iterations are from its CIFAR-10 speed
    record.

    Args:
        learning_rate: of the hidden kernels.
        adam_lr_ratio: the ratio of Adam's learning rate to `learning_rate`.
        momentum: of the gradients of the hidden kernels.
    """

    def __init__(
        self,
        learning_rate: float = 0.2,
        adam_lr_ratio: float = 0.05,
        momentum: float = 0.6,
        name: str = "muon",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = momentum

    def build(self, variables: list[Any]) -> None:
        """Create the moving averages: one for each hidden kernel, two for every other variable."""
        if self.built:
            return
        super().build(variables)
        self._means = self.add_optimizer_variables(variables, "mean")
        self._squares = [
            None
            if _is_hidden_kernel(variable)
            else self.add_variable_from_reference(variable, "square")
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; called by Keras."""
        index = self._get_variable_index(variable)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self._squares[index] is None:
            self._muon_step(gradient, variable, learning_rate, self._means[index])
        else:
            rate = learning_rate * self.adam_lr_ratio
            self._adam_step(gradient, variable, rate, self._means[index], self._squares[index])

    def _muon_step(self, gradient: Any, variable: Any, learning_rate: Any, mean: Any) -> None:
        self.assign(mean, self.momentum * mean + gradient)
        outputs = variable.shape[-1]
        inputs = math.prod(variable.shape[:-1])
        matrix = ops.reshape(gradient + self.momentum * mean, (inputs, outputs))
        step = ops.reshape(_orthogonalise(matrix), variable.shape)
        norm = math.sqrt(min(inputs, outputs))
        kernel = variable * (norm / (ops.norm(ops.reshape(variable, (-1,))) + 1e-7))
        self.assign(variable, kernel - learning_rate * step)

    def _adam_step(
        self, gradient: Any, variable: Any, learning_rate: Any, mean: Any, square: Any
    ) -> None:
        beta_1, beta_2, epsilon = 0.9, 0.95, 1e-8
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign(mean, beta_1 * mean + (1 - beta_1) * gradient)
        self.assign(square, beta_2 * square + (1 - beta_2) * ops.square(gradient))
        unbiased_mean = mean / (1 - ops.power(beta_1, step))
        unbiased_square = square / (1 - ops.power(beta_2, step))
        self.assign_sub(
            variable, learning_rate * unbiased_mean / (ops.sqrt(unbiased_square) + epsilon)
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this optimizer."""
        return {
            **super().get_config(),
            "adam_lr_ratio": self.adam_lr_ratio,
            "momentum": self.momentum,
        }


def _is_hidden_kernel(variable: Any) -> bool:
    return len(variable.shape) >= 2 and "logits" not in variable.path.split("/")


def _orthogonalise(matrix: Any) -> Any:
    """Bring the singular values of a matrix close to one, keeping its singular vectors.

    An iteration maps x to x (a + b g + c g²), where g = xᵀx, or g = xxᵀ on the left if that is
    smaller. The factors of all iterations are polynomials of the first g, which commute, so they
    are multiplied together first. Thus x, the largest of these matrices, is multiplied twice in
    total, not twice in each iteration.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix / (ops.norm(matrix) + 1e-7)
    wide = matrix.shape[0] < matrix.shape[1]
    gram = ops.matmul(x, ops.transpose(x)) if wide else ops.matmul(ops.transpose(x), x)
    identity = ops.eye(gram.shape[0], dtype=gram.dtype)
    factor = identity
    for _ in range(NEWTON_SCHULZ_ROUNDS):
        polynomial = a * identity + b * gram + c * ops.matmul(gram, gram)
        factor = ops.matmul(factor, polynomial)
        gram = ops.matmul(ops.matmul(polynomial, polynomial), gram)
    return ops.matmul(factor, x) if wide else ops.matmul(x, factor)
