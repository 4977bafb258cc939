"""Options for reading a dataset, recorded with every run so that it can be read again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from thumbnet.errors import InputError
from thumbnet.section import Section

OnBadImage = Literal["fail", "skip"]


class Reading(Section):
    """Options for reading a dataset.

    Attributes:
        image_size: height and width to resize to. By default, images keep their size if all have
            the same one and it is small; otherwise they become 32×32.
        label: the label to use, if there are several: "fine" or "coarse" for CIFAR-100, or the
            name of a column.
        path_column: the column of a table that contains the paths.
        on_bad_image: whether to fail on an image that cannot be read, or to skip it.
        max_megapixels: images above this size, in millions of pixels, count as bad; see
            `thumbnet.data.images.open_picture`.
        group: how to find images that belong together: a regular expression to search for in
            their paths, or the name of a column of a table.
        require_test: whether to refuse data without a test split.
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
        """Validate plain values.

        Raises:
            InputError: values are unknown or out of range; the message lists all of them.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, got {problem['input']!r}"
                for problem in error.errors()
            ]
            raise InputError("; ".join(problems)) from error
