"""3×3 convolutions that multiply a quarter to a sixth as often while they are trained."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thumbnet.runtime import backend, prepare_keras

keras = prepare_keras()
ops = keras.ops

# F(m×m, 3×3): m outputs of a row from m + 2 inputs and m + 2 products in place of 3m (Lavin and
# Gray 2015, arXiv 1509.09308). Inputs and kernel are taken for polynomials, which are multiplied by
# multiplying their values at m + 1 points and at infinity (Toom and Cook). With fractions among
# the points, and both signs, large tiles round little (Barabasz et al. 2018, arXiv 1803.10986).
POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2, 3 / 2, -2 / 3)
TILES = range(2, len(POINTS))
# With fewer channels, moving the products through memory costs what multiplying less saves.
FEWEST_CHANNELS = 32
# Of an image: the transforms are dense matrices of its whole sides.
LONGEST_SIDE = 64

Float32Array = npt.NDArray[np.float32]


@keras.saving.register_keras_serializable(package="thumbnet")
class WinogradConv2D(keras.layers.Conv2D):  # type: ignore[misc, name-defined]
    """What `keras.layers.Conv2D` computes with 3×3 pixels and padding "same".

    In training, in float32, on a processor and with enough channels it computes by Winograd's
    minimal filtering: the tiles of the images and the kernel are transformed, multiplied place by
    place, and transformed back. All of that is matrix products, whose gradients are matrix products
    of the same sizes. Results differ from the plain layer's by rounding, 4e-5 of their deviation or
    less on average. Everywhere else it is the plain layer, whose kernel it has.
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
    rows, columns = _transforms(height), _transforms(width)
    kernel = ops.matmul(rows.of_kernel, ops.reshape(kernel, (3, 3 * channels * filters)))
    kernel = ops.reshape(kernel, (rows.products, 3, channels * filters))
    kernel = ops.matmul(columns.of_kernel, kernel)

    # With the images side by side in the last but one axis, each transform is one matrix product
    # over all of them, and the products of one place in the tiles lie in the rows of a matrix.
    x = ops.transpose(images, (1, 2, 0, 3))
    x = ops.matmul(rows.there, ops.reshape(x, (height, width * count * channels)))
    x = ops.matmul(columns.there, ops.reshape(x, (-1, width, count * channels)))
    x = ops.reshape(
        x, (rows.products, rows.tiles, columns.products, columns.tiles * count, channels)
    )
    kernel = ops.reshape(kernel, (rows.products, 1, columns.products, channels, filters))
    x = ops.matmul(x, kernel)
    x = ops.reshape(x, (-1, columns.products * columns.tiles, count * filters))
    x = ops.matmul(columns.back, x)
    x = ops.matmul(rows.back, ops.reshape(x, (-1, width * count * filters)))
    return ops.transpose(ops.reshape(x, (height, width, count, filters)), (2, 0, 1, 3))


class _Transforms(NamedTuple):
    """What a side of an image is cut into, and the matrices from its pixels to products and back.

    `there` has the shape (products · tiles, side), `back` (side, products · tiles), and `of_kernel`
    (products, 3).
    """

    products: Any
    tiles: Any
    there: Any
    back: Any
    of_kernel: Any


def _transforms(side: Any) -> _Transforms:
    """The transforms of a side, looked up, as its length may be known only once a step is taken."""
    products, tiles, start = (ops.convert_to_tensor(_CUTS)[side, column] for column in range(3))
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
    """The transforms of a side with the tile for which it takes the fewest products."""
    tile = min(TILES, key=lambda outputs: -(-side // outputs) * (outputs + 2))
    tiles, products = -(-side // tile), tile + 2
    points = np.array(POINTS[: tile + 1])
    # For each point the rest: the polynomial with those roots is zero at all points but it.
    others = [np.delete(points, place) for place in range(len(points))]

    of_kernel = np.zeros((products, 3))
    differences = [np.prod(p - q) for p, q in zip(points, others, strict=True)]
    of_kernel[:-1] = np.vander(points, 3, increasing=True) / np.array(differences)[:, None]
    of_kernel[-1, -1] = 1
    of_tile = np.zeros((products, products))
    of_tile[:-1, :-1] = [np.poly(roots)[::-1] for roots in others]
    of_tile[-1] = np.poly(points)[::-1]
    to_outputs = np.zeros((tile, products))
    to_outputs[:, :-1] = np.vander(points, tile, increasing=True).T
    to_outputs[-1, -1] = 1

    there = np.zeros((products, tiles, tiles * tile + 2))
    back = np.zeros((tiles * tile, products, tiles))
    for number in range(tiles):
        start = number * tile
        there[:, number, start : start + products] = of_tile
        back[start : start + tile, :, number] = to_outputs
    # The first pixel lies before the image: rows of zeros, which padding would add, are left out.
    inside = there[:, :, 1 : side + 1].reshape(-1, side)
    return _Transforms(products, tiles, inside, back[:side].reshape(side, -1), of_kernel)


def _of_all_sides() -> tuple[npt.NDArray[np.int32], Float32Array]:
    """Products, tiles and where its numbers start for each side, and the numbers in one row."""
    cuts, numbers, start = [(0, 0, 0)], [], 0
    for side in range(1, LONGEST_SIDE + 1):
        products, tiles, *matrices = _fewest_products(side)
        cuts.append((products, tiles, start))
        numbers += [matrix.ravel() for matrix in matrices]
        start += sum(matrix.size for matrix in matrices)
    return np.array(cuts, np.int32), np.concatenate(numbers).astype(np.float32)


_CUTS, _NUMBERS = _of_all_sides()
