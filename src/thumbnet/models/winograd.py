"""Winograd convolution: 3×3 convolutions that train with 4 to 6 times fewer multiplications."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thumbnet.runtime import backend, prepare_keras

keras = prepare_keras()
ops = keras.ops

# F(m×m, 3×3): in one dimension, m outputs from m + 2 inputs with m + 2 products instead of 3m
# (Lavin and Gray 2015, arXiv 1509.09308). Inputs and kernel are treated as polynomials and
# multiplied by evaluating them at m + 1 points and at infinity (Toom-Cook). With fractions and
# both signs among the points, rounding errors stay small for large tiles (Barabasz et al. 2018,
# arXiv 1803.10986).
POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2, 3 / 2, -2 / 3)
TILES = range(2, len(POINTS))
# With fewer channels, the extra memory traffic costs as much as the saved multiplications gain.
FEWEST_CHANNELS = 32
# The transforms are dense matrices over a whole side of the image, so large images do not gain.
LONGEST_SIDE = 64

Float32Array = npt.NDArray[np.float32]


@keras.saving.register_keras_serializable(package="thumbnet")
class WinogradConv2D(keras.layers.Conv2D):  # type: ignore[misc, name-defined]
    """Computes the same as `keras.layers.Conv2D`, but trains faster.

    In float32 training with the TensorFlow backend and enough channels, it applies 3×3 kernels with
    padding "same" and no strides or dilation by Winograd's minimal filtering: tiles of the image
    and the kernel are transformed, multiplied elementwise, and transformed back. All these steps
    are matrix products, and their gradients are matrix products of the same sizes. Results differ
    from the built-in layer's by rounding: on average by at most 4e-5 of their standard deviation.
    In all other cases it runs the built-in layer. The kernel is the same for both.
    """

    # The built-in layer with the same configuration, for the saved model.
    plain = keras.layers.Conv2D

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve images of shape (n, height, width, channels)."""
        if not (training and self._winograd_applies(inputs) and self._winograd_is_faster()):
            return super().call(inputs)
        outputs = winograd(inputs, self.kernel)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)

    def _winograd_applies(self, inputs: Any) -> bool:
        return (
            max(side or 0 for side in inputs.shape[1:3]) <= LONGEST_SIDE
            and self.kernel_size == (3, 3)
            and self.strides == (1, 1)
            and self.dilation_rate == (1, 1)
            and self.groups == 1
            and self.padding == "same"
        )

    def _winograd_is_faster(self) -> bool:
        return (
            backend() == "tensorflow"
            and self.compute_dtype == "float32"
            and min(self.kernel.shape[2:]) >= FEWEST_CHANNELS
        )


def winograd(images: Any, kernel: Any) -> Any:
    """A 3×3 convolution with padding "same": Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, tile by tile.

    Args:
        images: float32 of shape (n, height, width, channels), sides of at most 64.
        kernel: float32 of shape (3, 3, channels, filters).

    Returns:
        float32 of shape (n, height, width, filters).
    """
    count, height, width, channels = ops.shape(images)
    filters = kernel.shape[-1]
    rows, columns = _transforms(height), _transforms(width)
    kernel = ops.matmul(rows.g, ops.reshape(kernel, (3, 3 * channels * filters)))
    kernel = ops.reshape(kernel, (rows.products, 3, channels * filters))
    kernel = ops.matmul(columns.g, kernel)

    # With the batch axis moved next to the channels, each transform is one matrix product over all
    # images, and so is the multiplication at each position of a tile.
    x = ops.transpose(images, (1, 2, 0, 3))
    x = ops.matmul(rows.b_t, ops.reshape(x, (height, width * count * channels)))
    x = ops.matmul(columns.b_t, ops.reshape(x, (-1, width, count * channels)))
    x = ops.reshape(
        x, (rows.products, rows.tiles, columns.products, columns.tiles * count, channels)
    )
    kernel = ops.reshape(kernel, (rows.products, 1, columns.products, channels, filters))
    x = ops.matmul(x, kernel)
    x = ops.reshape(x, (-1, columns.products * columns.tiles, count * filters))
    x = ops.matmul(columns.a_t, x)
    x = ops.matmul(rows.a_t, ops.reshape(x, (-1, width * count * filters)))
    return ops.transpose(ops.reshape(x, (height, width, count, filters)), (2, 0, 1, 3))


class _Transforms(NamedTuple):
    """The tiling of one side of an image, and the matrices of Lavin and Gray for it.

    Attributes:
        products: products per tile.
        tiles: number of tiles.
        b_t: Bᵀ for all tiles of the side at once, of shape (products · tiles, side).
        a_t: Aᵀ for all tiles of the side at once, of shape (side, products · tiles).
        g: G, of shape (products, 3).
    """

    products: Any
    tiles: Any
    b_t: Any
    a_t: Any
    g: Any


def _transforms(side: Any) -> _Transforms:
    """Look up the transforms of a side, whose length may be known only at run time."""
    products, tiles, start = (ops.convert_to_tensor(_TILINGS)[side, column] for column in range(3))
    numbers = ops.convert_to_tensor(_NUMBERS)[start:]
    size = products * tiles * side
    return _Transforms(
        products,
        tiles,
        ops.reshape(numbers[:size], (products * tiles, side)),
        ops.reshape(numbers[size : 2 * size], (side, products * tiles)),
        ops.reshape(numbers[2 * size : 2 * size + 3 * products], (products, 3)),
    )


def _fewest_products(side: int) -> _Transforms:
    """The transforms of a side, with the tile size that needs the fewest products."""
    tile = min(TILES, key=lambda outputs: -(-side // outputs) * (outputs + 2))
    tiles, products = -(-side // tile), tile + 2
    points = np.array(POINTS[: tile + 1])
    # The other points, for each point: the polynomial with these roots is nonzero only there.
    others = [np.delete(points, index) for index in range(len(points))]

    g = np.zeros((products, 3))
    differences = [np.prod(p - q) for p, q in zip(points, others, strict=True)]
    g[:-1] = np.vander(points, 3, increasing=True) / np.array(differences)[:, None]
    g[-1, -1] = 1
    tile_b_t = np.zeros((products, products))
    tile_b_t[:-1, :-1] = [np.poly(roots)[::-1] for roots in others]
    tile_b_t[-1] = np.poly(points)[::-1]
    tile_a_t = np.zeros((tile, products))
    tile_a_t[:, :-1] = np.vander(points, tile, increasing=True).T
    tile_a_t[-1, -1] = 1

    b_t = np.zeros((products, tiles, tiles * tile + 2))
    a_t = np.zeros((tiles * tile, products, tiles))
    for number in range(tiles):
        start = number * tile
        b_t[:, number, start : start + products] = tile_b_t
        a_t[start : start + tile, :, number] = tile_a_t
    # Drop the columns of the zero padding: one pixel before the image, and those after it.
    inside = b_t[:, :, 1 : side + 1].reshape(-1, side)
    return _Transforms(products, tiles, inside, a_t[:side].reshape(side, -1), g)


def _all_transforms() -> tuple[npt.NDArray[np.int32], Float32Array]:
    """(products, tiles, offset of the matrices) of each side, and all matrices in one vector."""
    tilings, numbers, start = [(0, 0, 0)], [], 0
    for side in range(1, LONGEST_SIDE + 1):
        products, tiles, *matrices = _fewest_products(side)
        tilings.append((products, tiles, start))
        numbers += [matrix.ravel() for matrix in matrices]
        start += sum(matrix.size for matrix in matrices)
    return np.array(tilings, np.int32), np.concatenate(numbers).astype(np.float32)


_TILINGS, _NUMBERS = _all_transforms()
