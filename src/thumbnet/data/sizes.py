"""The sizes that pictures came in, and what became of them when all were given one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Size = tuple[int, int]
"""Width and height, as people give the size of a picture."""


@dataclass(frozen=True)
class PictureSizes:
    """The sizes of pictures before they were cut and resized.

    Attributes:
        smallest: width and height of the picture with the fewest pixels; the same as `largest`
            only if all pictures have one size.
        median: the medians of all widths and of all heights.
        largest: of the picture with the most pixels.
        fitted: width and height that all pictures were given.
        cut_away: mean fraction of a picture that lies outside of what was kept, 0 to 1.
        enlarged: how many pictures were smaller than the result.
    """

    smallest: Size
    median: Size
    largest: Size
    fitted: Size
    cut_away: float
    enlarged: int

    @classmethod
    def measure(cls, sizes: Sequence[Size], fitted: Size) -> "PictureSizes":
        """Sum up the sizes of at least one picture."""
        widths, heights = np.array(sizes, np.int64).T
        areas = widths * heights
        # A picture is cut to the proportions of the result, as large as they fit into it.
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
    def from_dict(cls, values: Mapping[str, Any]) -> "PictureSizes":
        """Make it of what `to_dict` gave, after a way through JSON."""
        names = ("smallest", "median", "largest", "fitted")
        sizes = {name: (int(values[name][0]), int(values[name][1])) for name in names}
        return cls(**sizes, cut_away=float(values["cut_away"]), enlarged=int(values["enlarged"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One sentence for the user; sizes are width × height."""
        if self.smallest == self.largest == self.fitted:
            return f"all pictures have {_text(self.fitted)} pixels and are used as they are"
        found = _text(self.smallest)
        if self.smallest != self.largest:
            found += f" to {_text(self.largest)} (median {_text(self.median)})"
        actions = ["resized"]
        if self.cut_away >= 0.005:
            square = "a square" if self.fitted[0] == self.fitted[1] else "the same proportions"
            cut = f"cut to {square} around the centre, which drops {self.cut_away:.0%} on average"
            actions.insert(0, cut)
        enlarged = f"; {self.enlarged:,} of them are enlarged" if self.enlarged else ""
        return (
            f"pictures of {found} pixels become {_text(self.fitted)}: {', and '.join(actions)}"
            f"{enlarged}; --image-size gives another size"
        )


def _area(size: Size) -> tuple[int, Size]:
    """What sizes are ordered by; of the same area, the sizes themselves decide."""
    return size[0] * size[1], size


def _text(size: Size) -> str:
    return f"{size[0]}×{size[1]}"
