"""3×3 convolutions that multiply a quarter as often while they are trained."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.runtime import backend, prepare_keras

keras = prepare_keras()
ops = keras.ops

# F(4×4, 3×3): four outputs of a row from six inputs and six products instead of twelve (Lavin and
# Gray 2015, arXiv 1509.09308). Outputs = TO_OUTPUTS ((TO_KERNEL kernel) · (TO_PRODUCTS inputs)).
OUTPUTS, PRODUCTS = 4, 6
TO_PRODUCTS = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
TO_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TO_OUTPUTS = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
# With fewer channels, moving the products through memory costs what multiplying less saves.
FEWEST_CHANNELS = 64
# Of an image: the transforms are dense matrices of its whole sides.
LONGEST_SIDE = 64

Float32Array = npt.NDArray[np.float32]


@keras.saving.register_keras_serializable(package="thumbnet")
class WinogradConv2D(keras.layers.Conv2D):  # type: ignore[misc, name-defined]
    """What `keras.layers.Conv2D` computes with 3×3 pixels and padding "same".

    In training, in float32, on a processor and with enough channels it computes by Winograd's
    minimal filtering: the tiles of the images and the kernel are transformed, multiplied place by
    place, and transformed back. All of that is matrix products, whose gradients are matrix products
    of the same sizes. Results differ from the plain layer's by rounding, about 1e-4 of their
    deviation. Everywhere else it is the plain layer, whose kernel it has.
    """

    # What Keras alone can open; it takes the same configuration.
    plain = keras.layers.Conv2D

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve images of shape (n, height, width, channels)."""
        if training and self._pays():
            return winograd(inputs, self.kernel)
        return super().call(inputs)

    def _pays(self) -> bool:
        return (
            backend() == "tensorflow"
            and self.compute_dtype == "float32"
            and min(self.kernel.shape[2:]) >= FEWEST_CHANNELS
        )


def winograd(images: Any, kernel: Any) -> Any:
    """A convolution of 3×3 pixels with padding "same".

    Args:
        images: float32 of shape (n, height, width, channels), sides of at most 64.
        kernel: float32 of shape (3, 3, channels, filters).

    Returns:
        float32 of shape (n, height, width, filters).
    """
    count, height, width, channels = ops.shape(images)
    filters = kernel.shape[-1]
    rows, to_rows, from_rows = _transforms(height)
    columns, to_columns, from_columns = _transforms(width)
    kernel = ops.matmul(_KERNEL_ALL, ops.reshape(kernel, (9, channels * filters)))

    # With the images side by side in the last but one axis, each transform is one matrix product
    # over all of them, and the products of one place in the tiles lie in the rows of a matrix.
    x = ops.transpose(images, (1, 2, 0, 3))
    x = ops.matmul(to_rows, ops.reshape(x, (height, width * count * channels)))
    x = ops.matmul(to_columns, ops.reshape(x, (PRODUCTS * rows, width, count * channels)))
    x = ops.reshape(x, (PRODUCTS, rows, PRODUCTS, columns * count, channels))
    x = ops.matmul(x, ops.reshape(kernel, (PRODUCTS, 1, PRODUCTS, channels, filters)))
    x = ops.reshape(x, (PRODUCTS * rows, PRODUCTS * columns, count * filters))
    x = ops.matmul(from_columns, x)
    x = ops.matmul(from_rows, ops.reshape(x, (PRODUCTS * rows, width * count * filters)))
    return ops.transpose(ops.reshape(x, (height, width, count, filters)), (2, 0, 1, 3))


def _transforms(side: Any) -> tuple[Any, Any, Any]:
    """How many tiles a side has, and the matrices from its pixels to products and back."""
    tiles = (side + OUTPUTS - 1) // OUTPUTS
    # The first pixel lies before the image: rows of zeros, which padding would add, are left out.
    there = ops.reshape(
        ops.convert_to_tensor(_TO_ALL)[:, :tiles, 1 : side + 1], (PRODUCTS * tiles, side)
    )
    back = ops.reshape(ops.convert_to_tensor(_FROM_ALL)[:side, :, :tiles], (side, PRODUCTS * tiles))
    return tiles, there, back


def _of_many_tiles() -> tuple[Float32Array, Float32Array]:
    """The matrices of the longest side: (products, tiles, pixels) and (pixels, products, tiles)."""
    tiles = LONGEST_SIDE // OUTPUTS
    there = np.zeros((PRODUCTS, tiles, LONGEST_SIDE + 2), np.float32)
    back = np.zeros((LONGEST_SIDE, PRODUCTS, tiles), np.float32)
    for tile in range(tiles):
        start = OUTPUTS * tile
        there[:, tile, start : start + PRODUCTS] = TO_PRODUCTS
        back[start : start + OUTPUTS, :, tile] = TO_OUTPUTS
    return there, back


# Of both directions at once: (products · products, 3 · 3).
_KERNEL_ALL = np.kron(np.asarray(TO_KERNEL, np.float32), np.asarray(TO_KERNEL, np.float32))
_TO_ALL, _FROM_ALL = _of_many_tiles()
