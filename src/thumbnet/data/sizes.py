"""The original sizes of images, and how they were cropped and resized."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Size = tuple[int, int]
"""Width and height, the usual order for the size of an image."""


@dataclass(frozen=True)
class ImageSizes:
    """The sizes of images before they were cropped and resized.

    Attributes:
        smallest: width and height of the image with the fewest pixels; equal to `largest` only if
            all images have the same size.
        median: median width and median height.
        largest: width and height of the image with the most pixels.
        fitted: width and height of all images after resizing.
        cut_away: mean fraction of an image that was cropped, 0 to 1.
        enlarged: number of images that were upscaled.
    """

    smallest: Size
    median: Size
    largest: Size
    fitted: Size
    cut_away: float
    enlarged: int

    @classmethod
    def measure(cls, sizes: Sequence[Size], fitted: Size) -> "ImageSizes":
        """Summarise the sizes of one or more images."""
        widths, heights = np.array(sizes, np.int64).T
        areas = widths * heights
        # The largest centred crop with the aspect ratio of the result is kept.
        scale = np.minimum(widths / fitted[0], heights / fitted[1])
        kept = scale**2 * fitted[0] * fitted[1] / areas
        return cls(
            smallest=min(sizes, key=_area),
            median=(int(np.median(widths)), int(np.median(heights))),
            largest=max(sizes, key=_area),
            fitted=fitted,
            cut_away=float(1 - kept.mean()),
            enlarged=int((scale < 1).sum()),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImageSizes":
        """Restore from the values of `to_dict`, which may have been stored as JSON."""
        names = ("smallest", "median", "largest", "fitted")
        sizes = {name: (int(values[name][0]), int(values[name][1])) for name in names}
        return cls(**sizes, cut_away=float(values["cut_away"]), enlarged=int(values["enlarged"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One sentence for the user; sizes are width × height."""
        if self.smallest == self.largest == self.fitted:
            return f"all images have {_text(self.fitted)} pixels and are used without resizing"
        found = _text(self.smallest)
        if self.smallest != self.largest:
            found += f" to {_text(self.largest)} (median {_text(self.median)})"
        actions = ["resized"]
        if self.cut_away >= 0.005:
            square = "a square" if self.fitted[0] == self.fitted[1] else "the same aspect ratio"
            cut = f"centre-cropped to {square}, which drops {self.cut_away:.0%} on average"
            actions.insert(0, cut)
        enlarged = f"; {self.enlarged:,} of them are upscaled" if self.enlarged else ""
        return (
            f"images of {found} pixels become {_text(self.fitted)}: {', and '.join(actions)}"
            f"{enlarged}; use --image-size for another size"
        )


def _area(size: Size) -> tuple[int, Size]:
    """Sort key: the area, then the size itself."""
    return size[0] * size[1], size


def _text(size: Size) -> str:
    return f"{size[0]}×{size[1]}"
