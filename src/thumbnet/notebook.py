"""The HTML of datasets, runs and results as the last value of a notebook cell.

The HTML is self-contained: untrusted text is escaped, images are embedded, and there are no
scripts. The colours are those of the notebook.
"""

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from thumbnet.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from thumbnet.data.dataset import Dataset, LabelledImages
    from thumbnet.engines.prediction import PredictedImages
    from thumbnet.evaluation.comparison import PairComparison
    from thumbnet.evaluation.records import Evaluation
    from thumbnet.runs.history import History
    from thumbnet.runs.run import Run

Row = TypeVar("Row")

SHOWN_IMAGES, SHOWN_ROWS = 16, 20
_SIDE = 64  # pixels of an image on the screen


def dataset_html(dataset: "Dataset") -> str:
    """The numbers of images and classes, and some training images with their classes."""
    rng = np.random.default_rng(0)
    count = min(SHOWN_IMAGES, len(dataset.train))
    chosen = np.sort(rng.choice(len(dataset.train), count, replace=False))
    part = dataset.train.take(chosen)
    captions = [dataset.class_names[label] for label in part.labels]
    return _section(dataset.describe(), _pictures(part, captions))


def evaluation_html(evaluation: "Evaluation", title: str = "Evaluation") -> str:
    """The accuracy with its interval, and a table of the classes."""
    rows = [*evaluation.classes, evaluation.macro_average, evaluation.weighted_average]
    cells = [
        (one.name, *map(_number, (one.precision, one.recall, one.f1)), f"{one.support:,}")
        for one in _ends(rows)
    ]
    table = _table(("class", "precision", "recall", "F1", "images"), cells)
    figure = (
        f'<p><span style="font-size:2em">{evaluation.accuracy:.1%}</span> accuracy, 95% CI '
        f"{evaluation.accuracy_low:.1%} to {evaluation.accuracy_high:.1%}</p>"
    )
    return _section(title, figure + _section(str(evaluation), table))


def run_html(run: "Run") -> str:
    """The metrics and charts of a finished run; the learning curves of an unfinished one."""
    if not run.finished:
        return _section(f"Run {run.name}: not finished", "")
    try:
        card, plot = evaluation_html(run.metrics(), f"Run {run.name}"), run.plot
        has_curve = "loss" in run.history().columns()
        charts = [*([plot.learning()] if has_curve else []), plot.confusion()]
        return card + _figures(charts)
    except InputError as error:
        return _section(f"Run {run.name}: {error}", "")


def history_html(history: "History") -> str:
    """The learning curves; none before the end of the first epoch."""
    if not history:
        return _section(str(history), "")
    from thumbnet.figures.charts import learning_curve

    metrics = [name for name in ("loss", "accuracy") if name in history.columns()]
    charts = [learning_curve({"this run": history}, metric) for metric in metrics]
    return _section(str(history), _figures(charts))


def comparison_html(pair: "PairComparison") -> str:
    """Which run is better, and the counts for McNemar's test."""
    cells = [
        (f"{pair.first} right", f"{pair.both_right:,}", f"{len(pair.only_first):,}"),
        (f"{pair.first} wrong", f"{len(pair.only_second):,}", f"{pair.both_wrong:,}"),
    ]
    table = _table(("", f"{pair.second} right", f"{pair.second} wrong"), cells)
    return _section(str(pair), table)


def predictions_html(predictions: "PredictedImages") -> str:
    """A row for each image: the predicted class and its probability."""
    cells = [
        (one.path, one.error or one.class_name, "" if one.error else f"{one.confidence:.1%}")
        for one in _ends(predictions)
    ]
    return _section(str(predictions), _table(("image", "class", "probability"), cells))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _ends(rows: Sequence[Row]) -> list[Row]:
    half = SHOWN_ROWS // 2
    return [*rows] if len(rows) <= SHOWN_ROWS else [*rows[:half], *rows[-half:]]


def _section(title: str, body: str) -> str:
    return f"<div><p>{html.escape(title)}</p>{body}</div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _pictures(part: "LabelledImages", captions: Sequence[str]) -> str:
    from PIL import Image

    cells = []
    for image, caption in zip(np.asarray(part.images), captions, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "PNG")
        cells.append(
            f'<figure style="display:inline-block;margin:4px;width:{_SIDE + 16}px;'
            'text-align:center;overflow:hidden">'
            f'<img src="{_data_uri(file.getvalue())}" width="{_SIDE}" '
            'style="image-rendering:pixelated" alt="">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    return f"<div>{''.join(cells)}</div>"


def _figures(figures: "Sequence[Figure]") -> str:
    from thumbnet.figures.style import PAPER, render

    pictures = []
    for figure in figures:
        file = io.BytesIO()
        render(figure, file, "png", PAPER)
        width = round(figure.get_figwidth() * 96)
        pictures.append(f'<img src="{_data_uri(file.getvalue())}" width="{width}" alt="">')
    return f"<div>{''.join(pictures)}</div>"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
