"""The predictions of a model: the input of every evaluation, figure and comparison."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thumbnet.atomic import replacing
from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError
from thumbnet.npz import read_npz

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities and true labels.

    Attributes:
        probabilities: float32 array of shape (n, classes); each row sums to 1.
        labels: int64 array of shape (n,), the true classes.
        ids: int64 array of shape (n,), the index of each image in its split of the dataset.
        class_names: one name for each column of `probabilities`.
        part: the split: "train", "validation" or "test"; empty if not recorded.
        names: name of each image in its dataset, such as "glass/glass12.jpg"; empty for images
            without names.

    Raises:
        InputError: the shapes do not match, or a row is not a probability distribution.
    """

    probabilities: Float32Array
    labels: Int64Array
    ids: Int64Array
    class_names: tuple[str, ...]
    part: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count, classes = len(self.labels), len(self.class_names)
        if self.probabilities.shape != (count, classes) or self.ids.shape != (count,):
            raise InputError(
                f"predictions are inconsistent: {count} labels and {classes} class names, but "
                f"probabilities of shape {self.probabilities.shape} and ids of shape "
                f"{self.ids.shape}"
            )
        if len(self.names) not in (0, count):
            raise InputError(f"predictions have {count} labels but {len(self.names)} image names")
        if not all(text.isprintable() for text in (self.part, *self.class_names, *self.names)):
            raise InputError("predictions contain a name with control characters")
        if count and (self.labels.min() < 0 or self.labels.max() >= classes):
            raise InputError(f"predictions contain a label outside 0 to {classes - 1}")
        sums = self.probabilities.sum(axis=1, dtype=np.float64)
        if (self.probabilities < 0).any() or not np.allclose(sums, 1, atol=1e-3):
            raise InputError("predictions contain a row that is not a probability distribution")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        part = f"{self.part} " if self.part else ""
        return f"<predictions of {len(self):,} {part}images, {len(self.class_names):,} classes>"

    @property
    def predicted(self) -> Int64Array:
        """The most probable class of each image, int64 of shape (n,)."""
        most_probable: Int64Array = self.probabilities.argmax(axis=1)
        return most_probable

    @property
    def confidence(self) -> Float32Array:
        """The probability of that class, float32 of shape (n,)."""
        highest: Float32Array = self.probabilities.max(axis=1)
        return highest

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class is the true one, bool of shape (n,)."""
        return np.equal(self.predicted, self.labels)

    def save(self, path: str | Path) -> None:
        """Write to an `.npz` file, atomically."""
        with replacing(Path(path)) as file:
            np.savez_compressed(
                file,
                probabilities=self.probabilities,
                labels=self.labels,
                ids=self.ids,
                class_names=np.array(self.class_names),
                part=np.array(self.part),
                # An array of strings would store each with the length of the longest.
                names=np.frombuffer("\n".join(self.names).encode(), np.uint8),
            )

    @classmethod
    def load(cls, path: str | Path) -> "Predictions":
        """Read a file that `save` wrote.

        Raises:
            InputError: the file is missing or damaged, or has other content.
        """
        path = Path(path)
        try:
            arrays = read_npz(path)
            names = arrays.get("names", np.array([], np.uint8)).tobytes().decode()
            return cls(
                probabilities=arrays["probabilities"].astype(np.float32, copy=False),
                labels=arrays["labels"].astype(np.int64, copy=False),
                ids=arrays["ids"].astype(np.int64, copy=False),
                class_names=tuple(str(name) for name in arrays["class_names"]),
                part=str(arrays.get("part", "")),
                names=tuple(names.split("\n")) if names else (),
            )
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing: the run did not finish; resume it") from error
        except InputError:
            raise
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} cannot be read as predictions: {error}") from error
