"""The records of a run directory: one class for each JSON file writes it and reads it.

Every key without a default has been there since version 0.1.0, whose runs must open for ever: a key
that comes later gets a default. A key that is renamed keeps its old name as an alias.
"""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, JsonValue, RootModel, field_validator

from thumbnet.evaluation.records import Calibration, Evaluation
from thumbnet.machine import Host
from thumbnet.record import Amount, Count, Fraction, Location, Record, Text

FORMAT_VERSION = 2
"""Of a run directory: 1 is that of version 0.1.0, which did not write it down. It is raised when a
program that knows the number before would misread the files."""


class DataIdentity(Record):
    """Which images were used, and how they were read.

    Attributes:
        name: of the data set.
        path: of the user's own files; None for CIFAR-10 from the cache or the sample.
        reading: how the files were read, see `thumbnet.data.reading.Reading`.
        digests: SHA-256 of each part.
    """

    name: Text
    path: Location | None
    reading: dict[Text, JsonValue] = Field(default={})
    digests: dict[Text, Text]


class DataRecord(DataIdentity):
    """The images that a run was made of.

    Attributes:
        source: where they came from, in words.
        class_names: in the order of the model's outputs.
    """

    source: Text
    class_names: Annotated[list[Text], Field(min_length=1)]


class Environment(Host):
    """`environment.json`: where, with what and of what a run was made.

    Attributes:
        format_version: of the run directory.
        seed: of everything that is random.
        processes: how many trained together.
        data: the images.
        changed_on_resuming: settings of the recipe that were replaced, at each resuming.
    """

    format_version: Annotated[int, Field(ge=1)] = 1
    seed: Count
    processes: Count
    data: DataRecord
    changed_on_resuming: list[dict[Text, JsonValue]] = Field(default=[])
    own_parts: list[Text] = Field(default=[])

    @field_validator("format_version")
    @classmethod
    def _is_known(cls, version: int) -> int:
        if version > FORMAT_VERSION:
            raise ValueError(
                f"the run has format {version}, which only a newer version of Thumbnet can read "
                f"(this one reads up to {FORMAT_VERSION}); upgrade Thumbnet"
            )
        return version


class Speed(Record):
    """How fast an engine answers.

    Attributes:
        images_per_second: in batches of up to 500 images.
        latency_ms: milliseconds for one image alone.
    """

    images_per_second: Amount
    latency_ms: Amount


class ModelSize(Record):
    """What is counted of a model rather than timed.

    Attributes:
        parameters: numbers in the model.
        flop_per_image: floating point operations of the forward pass of one image.
        memory_bytes: of the parameters and of the largest layer's input and output.
    """

    parameters: Count
    flop_per_image: Count
    memory_bytes: Count


class TrainingCost(Record):
    """What the training took.

    Attributes:
        train_flops: floating point operations.
        sgemm_gflops: 10⁹ operations a second of this machine in a large matrix product.
        sgemm_tflop: 10¹² operations that it could have done in the training time.
    """

    train_flops: Count
    sgemm_gflops: Amount
    sgemm_tflop: Amount


class TrainingFigures(TrainingCost, ModelSize, Speed):
    """What only the training could measure: kept as it is when the rest is computed anew.

    Attributes:
        run: the name of the run directory.
        recipe, architecture, seed: of the recipe.
        data_name, data_source: of the data set.
        train_images, validation_images: how many.
        skipped_images: pictures that could not be read and were left out.
        test_duplicates: test images with the same pixels as a training or validation image.
        accuracy_without_duplicates: on the other test images; None without one.
        train_seconds: training time, over all sittings.
        epochs_run, steps: how many.
        stop_reason: what ended the training, in words.
        model_sha256: of `model.keras`.
        tta_views, accuracy_tta: views and test accuracy with test-time augmentation; None without.
    """

    run: Text
    recipe: Text
    architecture: Text
    seed: Count
    data_name: Text
    data_source: Text
    train_images: Count
    validation_images: Count
    skipped_images: Count
    test_duplicates: Count = 0
    accuracy_without_duplicates: Fraction | None = None
    train_seconds: Amount
    epochs_run: Count
    steps: Count
    stop_reason: Text
    model_sha256: Text
    tta_views: Annotated[
        Count | None, Field(validation_alias=AliasChoices("tta_views", "test_time_views"))
    ] = None
    accuracy_tta: Fraction | None = None


class PredictionFigures(Evaluation):
    """What follows from the saved predictions and the saved model, at any time.

    Attributes:
        validation_accuracy: of the weights that were kept; None without validation images.
        model_bytes: size of `model.keras`.
        calibration: the temperature, and what it changes.
        label_suspects: test images whose label is probably wrong.
    """

    validation_accuracy: Fraction | None
    model_bytes: Count
    calibration: Calibration
    label_suspects: Count


class Metrics(TrainingFigures, PredictionFigures):
    """`metrics.json`: every figure of the training and of the evaluation."""


class Export(Speed):
    """One export, and how it compares with Keras; `thumbnet.export.comparison` has the bounds."""

    format: Text
    quantized: Literal["int8"] | None
    files: Annotated[dict[Text, Text], Field(min_length=1)]
    bytes: Count
    source_sha256: Text
    images: Count
    images_from: Text
    max_difference: Fraction
    agreement: Fraction
    accuracy: Fraction | None
    keras_accuracy: Fraction | None
    accuracy_loss_interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    shrinkage: Amount | None = None
    tolerance: dict[Text, Amount]
    keras_images_per_second: Amount | None = None
    keras_latency_ms: Amount | None = None


EXPORT_NAME = r"^[a-z][a-z0-9_]*(-int8)?$"


class Exports(RootModel[dict[Annotated[str, Field(pattern=EXPORT_NAME)], Export]]):
    """`exports.json`: the exports by name; one that was quantised ends in "-int8"."""


class Corruptions(Record):
    """Accuracy under each corruption, at each of five severities."""

    style: Text
    source: Text
    left_out: dict[Text, Text]
    accuracy: dict[Text, Annotated[list[Fraction], Field(min_length=5, max_length=5)]]
    mean_accuracy: Fraction
    mean_corruption_error: Fraction


class MeasuredAccuracy(Record):
    """Accuracy on some images, with its 95% interval; None where there is no image."""

    images: Count
    accuracy: Fraction | None
    accuracy_low: Fraction | None
    accuracy_high: Fraction | None


class Attack(MeasuredAccuracy):
    """Accuracy under one attack."""

    attack: Text
    radius: Text


class BenchmarkRow(MeasuredAccuracy):
    """Accuracy on one published file, or on one severity of it."""

    name: Text
    severity: Count | None
    checked: Text


class Benchmark(Record):
    """Accuracy on published files; a corruption error only of CIFAR-10-C."""

    mean_accuracy: Fraction
    mean_corruption_error: Fraction | None
    rows: Annotated[list[BenchmarkRow], Field(min_length=1)]


class Robustness(Record):
    """`robustness.json`: what `thumbnet robustness` measured so far.

    Attributes:
        images, seed: how many test images were corrupted, and what drew them.
        clean_accuracy: on those images as they are.
        corruptions: None where only published files were tested.
        changes: accuracy on images mirrored or shifted.
        attacks: accuracy under attack.
        benchmarks: on published files, by name.
    """

    images: Count = 0
    seed: Count = 0
    clean_accuracy: Fraction | None = None
    corruptions: Corruptions | None = None
    changes: dict[Text, Fraction] = Field(default={})
    attacks: list[Attack] = Field(default=[])
    benchmarks: dict[Text, Benchmark] = Field(default={})


class SimilarPair(Record):
    """A test image and a training image that are nearly the same, by their names."""

    test: Text
    train: Text


class Audit(Record):
    """`audit.json`: what `thumbnet audit` found; accuracies are None where no image is left."""

    measure: Text
    test_images: Count
    near_duplicates: Count
    identical: Count
    other_label: Count
    most_similar: list[SimilarPair] = Field(default_factory=list)
    accuracy: Fraction | None
    accuracy_without: Fraction | None
    accuracy_on_duplicates: Fraction | None


class CurvePoint(Record):
    """A point of a learning curve; `recall` is that of each class, None without images of it."""

    train_images: Count
    accuracy: Fraction
    recall: list[Fraction | None]


class MoreImages(Record):
    """The accuracy that more images of each class are likely to add, with a 95% interval."""

    per_class: Count
    gain: Fraction
    low: Fraction
    high: Fraction


class LearningCurve(Record):
    """`learning_curve.json`: validation accuracy against the number of training images.

    `neediest` is the class with the lowest recall with all training images.
    """

    validation_images: Count
    classes: list[Text]
    points: list[CurvePoint]
    more: MoreImages
    neediest: Text


class ExplainedImage(Record):
    """One explained test image: its index, and why it was chosen."""

    image: Count
    kind: Text
    label: Text
    predicted: Text
    confidence: Fraction


class Explanations(Record):
    """`explanations.json`: what the pictures of `thumbnet explain` show."""

    gallery: list[ExplainedImage]
    grad_cam: Text | None
    grad_cam_reason: Text | None
    first_layer_reason: Text | None
    projected_images: Count
    projected_variance: Fraction


class SeedFigure(Record):
    """One metric over several seeds; None where a run lacks it, or there is a single run."""

    mean: float | None
    std: Annotated[float | None, Field(validation_alias=AliasChoices("std", "deviation"))]
    values: list[float | None]


class SeedSummary(Record):
    """`seeds.json`: the same recipe with several seeds."""

    recipe: Text
    seeds: list[Count]
    runs: list[Text]
    figures: dict[Text, SeedFigure]
