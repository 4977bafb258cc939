"""What the JSON files of a run directory hold, checked when they are read.

A run directory can come from a stranger: a value of another type, or text that would play with
the terminal, is refused before anything is done with it.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from thumbnet.errors import InputError

# Far more than any file here needs, and nothing that a reader of them could choke on.
MAXIMUM_TEXT_BYTES = 64 * 2**20
_checked = with_config(extra="allow", allow_inf_nan=False, strict=True)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _is_text(value: Any) -> Any:
    # Not `str`: a path may hold bytes that are no UTF-8, which Pydantic's type refuses.
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


Text = Annotated[str, Field(max_length=10_000), AfterValidator(_printable)]
Location = Annotated[Any, AfterValidator(_is_text)]
# Far above what can be counted or measured, and within what charts can show.
_MOST = 10**24
Count = Annotated[int, Field(ge=0, le=_MOST)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=_MOST)]


@_checked
class DataRecord(TypedDict):
    """The images that a run was made of."""

    name: Text
    source: Text
    path: Location | None
    reading: NotRequired[dict[Text, Any]]
    digests: dict[Text, Text]
    class_names: Annotated[list[Text], Field(min_length=1)]


@_checked
class EnvironmentRecord(TypedDict, total=False):
    """`environment.json`: where and with what a run was made."""

    python: Text
    platform: Text
    processor: Text
    cores: Count | None
    threads: Count
    backend: Text
    onednn: Text
    versions: dict[Text, Text]
    git_revision: Text | None
    seed: Count
    processes: Count
    data: DataRecord
    changed_on_resuming: list[dict[Text, Any]]


@_checked
class ScoresRecord(TypedDict):
    """What judges probabilities."""

    log_loss: Amount
    expected_calibration_error: Share
    brier_score: Amount


@_checked
class RejectionRecord(TypedDict):
    """What is left unanswered, and how often the rest is right."""

    rejected: Share
    threshold: Share | None
    accuracy: Share | None


@_checked
class CalibrationRecord(TypedDict):
    """How the temperature was fitted, and what it does."""

    temperature: Annotated[float, Field(gt=0)]
    validation_images: Count
    reason: Text | None
    bins: Count
    before: ScoresRecord
    after: ScoresRecord | None
    risk_coverage_area: Share
    rejection: list[RejectionRecord]


@_checked
class MetricsRecord(TypedDict, total=False):
    """`metrics.json`: every figure of the evaluation and the training."""

    run: Text
    recipe: Text
    architecture: Text
    seed: Count
    data_name: Text
    data_source: Text
    train_images: Count
    validation_images: Count
    test_images: Count
    skipped_images: Count
    accuracy: Share
    accuracy_low: Share
    accuracy_high: Share
    top_k: Count
    top_k_accuracy: Share
    log_loss: Amount
    expected_calibration_error: Share
    brier_score: Amount
    calibration: CalibrationRecord
    label_suspects: Count
    flop_per_image: Count
    memory_bytes: Count
    macro_precision: Share
    macro_recall: Share
    macro_f1: Share
    weighted_precision: Share
    weighted_recall: Share
    weighted_f1: Share
    validation_accuracy: Share | None
    train_seconds: Amount
    train_flops: Count
    sgemm_gflops: Amount
    sgemm_tflop: Amount
    accuracy_tta: Share
    tta_views: Count
    epochs_run: Count
    steps: Count
    stop_reason: Text
    parameters: Count
    model_bytes: Count
    model_sha256: Text
    images_per_second: Amount
    latency_ms: Amount


@_checked
class ExportRecord(TypedDict):
    """One export, and how it compares with Keras."""

    format: Literal["onnx", "openvino", "litert", "savedmodel"]
    quantized: Literal["int8"] | None
    files: Annotated[dict[Text, Text], Field(min_length=1)]
    bytes: Count
    source_sha256: Text
    images: Count
    images_from: Text
    max_difference: Share
    agreement: Share
    accuracy: Share | None
    keras_accuracy: Share | None
    accuracy_loss_interval: NotRequired[
        Annotated[list[float], Field(min_length=2, max_length=2)] | None
    ]
    shrinkage: NotRequired[Amount]
    tolerance: dict[Text, Amount]
    images_per_second: Amount
    latency_ms: Amount
    keras_images_per_second: NotRequired[Amount]
    keras_latency_ms: NotRequired[Amount]


EXPORT_NAME = r"^(onnx|openvino|litert|savedmodel)(-int8)?$"
ExportsRecord = dict[Annotated[str, Field(pattern=EXPORT_NAME)], ExportRecord]
"""`exports.json`: the exports by name; one that was quantised ends in "-int8"."""


@_checked
class CorruptionsRecord(TypedDict):
    """Accuracy under each corruption, at each severity."""

    left_out: dict[Text, Text]
    accuracy: dict[Text, Annotated[list[Share], Field(min_length=5, max_length=5)]]
    mean_accuracy: Share


@_checked
class AttackRecord(TypedDict):
    """Accuracy under one attack."""

    attack: Text
    radius: Text
    images: Count
    accuracy: Share


@_checked
class BenchmarkRecord(TypedDict):
    """Accuracy on published files."""

    mean_accuracy: Share
    rows: Annotated[list[dict[Text, Any]], Field(min_length=1)]


@_checked
class RobustnessRecord(TypedDict, total=False):
    """`robustness.json`: what `thumbnet robustness` measured."""

    images: Count
    seed: Count
    clean_accuracy: Share
    corruptions: CorruptionsRecord
    changes: dict[Text, Share]
    attacks: list[AttackRecord]
    benchmarks: dict[Text, BenchmarkRecord]


@_checked
class AuditRecord(TypedDict):
    """`audit.json`: what `thumbnet audit` found."""

    test_images: Count
    near_duplicates: Count
    identical: Count
    accuracy: Share | None
    accuracy_without: Share | None


@_checked
class GalleryRecord(TypedDict):
    """One explained test image."""

    image: Count
    kind: Text
    label: Text
    predicted: Text
    confidence: Share


@_checked
class ExplanationsRecord(TypedDict):
    """`explanations.json`: what the pictures of `thumbnet explain` show."""

    gallery: list[GalleryRecord]
    grad_cam_reason: Text | None
    first_layer_reason: Text | None
    projected_images: Count
    projected_variance: Share


class Record(dict[str, Any]):
    """A JSON object of a file; a key that is not there is an error that names the file."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self._path} is damaged: it holds no {key}")


def read_record(path: Path, schema: Any) -> Record:
    """Read a JSON object and check it.

    Args:
        path: the file.
        schema: one of the classes above.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it holds no JSON object, or a value of another type or range.
    """
    try:
        values = json.loads(read_bounded_text(path))
        TypeAdapter(schema).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"{path} is damaged: {key}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: it is no JSON: {error}") from error
    return Record(path, values)


def read_bounded_text(path: Path) -> str:
    """The UTF-8 text of a file that is not absurdly large.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, is too large, or is no text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAXIMUM_TEXT_BYTES + 1)
        if len(content) > MAXIMUM_TEXT_BYTES:
            raise InputError(
                f"{path} is larger than the {MAXIMUM_TEXT_BYTES:,} bytes that are read"
            )
        return content.decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: it is no UTF-8 text") from error
