"""How files become a data set: recorded with every run, so that they can be read again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from thumbnet.errors import InputError
from thumbnet.section import Section

OnBadImage = Literal["fail", "skip"]


class Reading(Section):
    """What the user decides about reading a data set.

    Attributes:
        image_size: height and width that every picture gets; None for their own size where all
            are equal and small, and 32 where not.
        label: which label, where there are several: "fine" or "coarse" of CIFAR-100, or the
            name of a column.
        path_column: the name of a table's column of paths.
        on_bad_image: whether a picture that cannot be read ends the job or is left out.
        max_megapixels: pictures above this size, in millions of pixels, count as bad; see
            `thumbnet.data.images.open_picture`.
        group: what tells which pictures belong together: a regular expression that is searched for
            in their paths, or the name of a table's column.
        require_test: whether data without a test part are refused.
    """

    image_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    path_column: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    on_bad_image: OnBadImage = "fail"
    max_megapixels: Annotated[int, Field(ge=1, le=1000)] = 50
    group: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    require_test: bool = False

    @property
    def maximum_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return self.max_megapixels * 1_000_000

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> "Reading":
        """Make it of plain values.

        Raises:
            InputError: naming each that is unknown or out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, got {problem['input']!r}"
                for problem in error.errors()
            ]
            raise InputError("; ".join(problems)) from error
