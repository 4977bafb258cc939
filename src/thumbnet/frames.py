"""Tables as pandas data frames, if pandas is installed."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from thumbnet.errors import InputError
from thumbnet.installing import install_command

if TYPE_CHECKING:
    import pandas


def data_frame(rows: Iterable[Mapping[str, Any]], columns: list[str]) -> "pandas.DataFrame":
    """A data frame of rows; missing values become NaN.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise InputError(
            f"a data frame needs pandas, which is not installed: {install_command('pandas')}"
        ) from error
    return pandas.DataFrame.from_records(list(rows), columns=columns)
