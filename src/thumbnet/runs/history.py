"""`history.csv`: the metrics of each epoch."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

from pydantic import BaseModel, Field, ValidationError

from thumbnet.errors import InputError
from thumbnet.frames import data_frame
from thumbnet.record import CHECKED, Measured, Text, describe_problem, read_bounded_text

if TYPE_CHECKING:
    import pandas

# Epoch 0 has the metrics of pretrained weights before training.
Epoch = Annotated[int, Field(ge=0, le=1_000_000)]


class HistoryRow(BaseModel):
    """The metrics of one epoch; None for those that were not measured.

    A user's own model may add metrics, each in a separate column; `get` reads any column.
    """

    model_config = CHECKED
    __pydantic_extra__: dict[Text, Measured]

    epoch: Epoch
    step: Annotated[int, Field(ge=0)] | None = None
    learning_rate: Measured | None = None
    loss: Measured
    accuracy: Measured | None = None
    top_5_accuracy: Measured | None = None
    validation_loss: Measured | None = None
    validation_accuracy: Measured | None = None
    validation_top_5_accuracy: Measured | None = None
    images_per_second: Measured | None = None
    seconds: Measured | None = None

    def get(self, column: str) -> float | None:
        """The value in a column; None if it was not measured."""
        found: float | None = self.values().get(column)
        return found

    def values(self) -> dict[str, Any]:
        """The measured values by column."""
        return self.model_dump(exclude_none=True)


class History(Sequence[HistoryRow]):
    """The epochs of a run, in order."""

    def __init__(self, rows: Sequence[HistoryRow]) -> None:
        self._rows = tuple(rows)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float | str]]) -> "History":
        """Make a history from rows of plain values.

        Raises:
            ValidationError: a value is not a finite number.
        """
        # Not strict: a CSV file contains text.
        return cls([HistoryRow.model_validate(row, strict=False) for row in rows])

    @classmethod
    def read(cls, path: Path) -> "History":
        """Read a CSV file.

        Raises:
            FileNotFoundError: the file does not exist.
            InputError: it is damaged.
        """
        try:
            rows = csv.DictReader(io.StringIO(read_bounded_text(path)))
            return cls.of(
                [{str(name): value for name, value in row.items() if value} for row in rows]
            )
        except ValidationError as error:
            raise InputError(f"{path} is damaged: {describe_problem(error)}") from error
        except csv.Error as error:
            raise InputError(f"{path} is damaged: {error}") from error

    @overload
    def __getitem__(self, index: int) -> HistoryRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[HistoryRow]: ...
    def __getitem__(self, index: int | slice) -> HistoryRow | Sequence[HistoryRow]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[HistoryRow]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(self._rows)

    def columns(self) -> list[str]:
        """The names of all measured columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self for name in row.values()))

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas DataFrame with one row per epoch.

        Raises:
            InputError: pandas is not installed.
        """
        return data_frame((row.values() for row in self), self.columns())

    def __str__(self) -> str:
        if not self:
            return "history of 0 epochs"
        last = ", ".join(
            f"{name} {value:.4g}"
            for name, value in self[-1].values().items()
            if name in ("loss", "accuracy", "validation_loss", "validation_accuracy")
        )
        return f"history of {len(self):,} epochs; last epoch: {last}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        from thumbnet.notebook import history_html

        return history_html(self)

    def series(self, column: str) -> tuple[list[int], list[float]]:
        """The epochs in which a column was measured, and its values."""
        found = [(row.epoch, row.get(column)) for row in self]
        known = [(epoch, value) for epoch, value in found if value is not None]
        return [epoch for epoch, _ in known], [value for _, value in known]
