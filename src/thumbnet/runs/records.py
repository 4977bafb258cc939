"""The records of a run directory: one class for writing and reading each JSON file.

Keys without a default exist since version 0.1.0, whose runs must remain readable, so new keys need
a default. A renamed key keeps its old name as an alias.
"""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, JsonValue, RootModel, field_validator

from thumbnet.evaluation.records import Calibration, Evaluation
from thumbnet.machine import Host
from thumbnet.record import Amount, Count, Fraction, Location, Record, Text

FORMAT_VERSION = 2
"""Format version of run directories. Version 0.1.0 had format 1 and did not record it. Increment
this when an older program would misread the files."""


class DataIdentity(Record):
    """The dataset, and how it was read.

    Attributes:
        name: name of the dataset.
        path: path of the user's own files; None for CIFAR-10 from the cache or the sample.
        reading: how the files were read, see `thumbnet.data.reading.Reading`.
        digests: SHA-256 of the images and labels of each split.
    """

    name: Text
    path: Location | None
    reading: dict[Text, JsonValue] = Field(default={})
    digests: dict[Text, Text]


class DataRecord(DataIdentity):
    """The dataset of a run.

    Attributes:
        source: a description of its origin.
        class_names: in the order of the model's outputs.
    """

    source: Text
    class_names: Annotated[list[Text], Field(min_length=1)]


class Environment(Host):
    """`environment.json`: software, hardware and data of a run.

    Attributes:
        format_version: format version of the run directory.
        seed: seed of all random numbers.
        processes: number of processes that trained together.
        data: the dataset.
        changed_on_resuming: recipe settings that were changed, one entry per resume.
        own_parts: parts of the training that came from Python code, and that the recipe alone
            cannot reproduce.
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
    """The speed of an engine.

    Attributes:
        images_per_second: throughput in batches of up to 500 images.
        latency_ms: milliseconds for a single image.
    """

    images_per_second: Amount
    latency_ms: Amount


class ModelSize(Record):
    """The size of a model.

    Attributes:
        parameters: number of parameters.
        flop_per_image: floating-point operations of the forward pass for one image.
        memory_bytes: memory for the parameters, and the input and output of the largest layer.
    """

    parameters: Count
    flop_per_image: Count
    memory_bytes: Count


class TrainingCost(Record):
    """The compute used for training.

    Attributes:
        train_flops: floating-point operations.
        sgemm_gflops: 10⁹ operations per second of this machine in a large matrix product.
        sgemm_tflop: 10¹² operations at that rate during the training time.
    """

    train_flops: Count
    sgemm_gflops: Amount
    sgemm_tflop: Amount


class TrainingFigures(TrainingCost, ModelSize, Speed):
    """Values measured during training, which are kept when the metrics are computed again.

    Attributes:
        run: name of the run directory.
        recipe, architecture, seed: from the recipe.
        data_name, data_source: name and origin of the dataset.
        train_images, validation_images: number of images.
        skipped_images: number of images that could not be read and were skipped.
        test_duplicates: test images with the same pixels as a training or validation image.
        accuracy_without_duplicates: accuracy on the other test images; None if there are none.
        train_seconds: training time, summed over all sessions.
        epochs_run, steps: number of epochs and steps.
        stop_reason: why training ended.
        model_sha256: SHA-256 of `model.keras`.
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
    """Values that can be computed from the saved predictions and the saved model at any time.

    Attributes:
        validation_accuracy: accuracy of the saved weights; None without validation images.
        model_bytes: size of `model.keras`.
        calibration: the temperature and its effect.
        label_suspects: test images whose label is probably wrong.
    """

    validation_accuracy: Fraction | None
    model_bytes: Count
    calibration: Calibration
    label_suspects: Count


class Metrics(TrainingFigures, PredictionFigures):
    """`metrics.json`: all metrics of training and evaluation."""


class Export(Speed):
    """An export compared with Keras; the tolerances are in `thumbnet.export.comparison`.

    Attributes:
        format: the runtime, such as onnx.
        quantized: "int8" if the model computes in int8, otherwise None.
        files: SHA-256 of each file of the export, by path.
        bytes: size of all files.
        source_sha256: SHA-256 of the `model.keras` that was exported.
        images, images_from: number and description of the images on which the export was compared.
        max_difference: largest absolute difference between the probabilities.
        agreement: fraction of the images with the same most probable class.
        accuracy, keras_accuracy: accuracy of the export and of Keras; None without labels.
        accuracy_loss_interval: 95% CI of the difference in accuracy; None without labels.
        shrinkage: ratio of the float32 weights to the export in bytes.
        tolerance: the bounds that the export had to meet, by the name of the field.
        keras_images_per_second, keras_latency_ms: speed of Keras in the same session.
    """

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
    """`exports.json`: the exports by name; quantised ones end in "-int8"."""


class Corruptions(Record):
    """Accuracy for each corruption at each of five severities.

    Attributes:
        style: the kind of corruptions, "CIFAR-10-C-style".
        source: the publication that they follow.
        left_out: published corruptions that are not included, with the reason.
        accuracy: five accuracies for each corruption, from severity 1 to 5.
        mean_accuracy: mean over the corruptions of the published benchmark.
        mean_corruption_error: 1 minus `mean_accuracy`, not normalised by a baseline.
    """

    style: Text
    source: Text
    left_out: dict[Text, Text]
    accuracy: dict[Text, Annotated[list[Fraction], Field(min_length=5, max_length=5)]]
    mean_accuracy: Fraction
    mean_corruption_error: Fraction


class MeasuredAccuracy(Record):
    """Accuracy with its 95% CI; None if there are no images.

    Attributes:
        images: number of images.
        accuracy: fraction of the images that were classified correctly.
        accuracy_low, accuracy_high: 95% Wilson interval of `accuracy`.
    """

    images: Count
    accuracy: Fraction | None
    accuracy_low: Fraction | None
    accuracy_high: Fraction | None


class Attack(MeasuredAccuracy):
    """Accuracy under one attack.

    Attributes:
        attack: name of the attack.
        radius: largest change of a pixel, such as "1/255".
    """

    attack: Text
    radius: Text


class BenchmarkRow(MeasuredAccuracy):
    """Accuracy on a published file, or on one severity in it.

    Attributes:
        name: name of the file, without its suffix.
        severity: severity of the corruption, 1 to 5; 0 if the file has none.
        checked: how the file was verified.
    """

    name: Text
    severity: Count | None
    checked: Text


class Benchmark(Record):
    """Accuracy on published files.

    Attributes:
        mean_accuracy: mean over the rows.
        mean_corruption_error: 1 minus `mean_accuracy` for CIFAR-10-C, otherwise None.
        rows: one entry per file and severity.
    """

    mean_accuracy: Fraction
    mean_corruption_error: Fraction | None
    rows: Annotated[list[BenchmarkRow], Field(min_length=1)]


class Robustness(Record):
    """`robustness.json`: the results of `thumbnet robustness` so far.

    Attributes:
        images, seed: number of corrupted test images, and the seed of the sample.
        clean_accuracy: accuracy on those images without corruption.
        corruptions: None if only published files were tested.
        changes: accuracy on mirrored and shifted images.
        attacks: accuracy under adversarial attacks.
        benchmarks: accuracy on published files, by name.
    """

    images: Count = 0
    seed: Count = 0
    clean_accuracy: Fraction | None = None
    corruptions: Corruptions | None = None
    changes: dict[Text, Fraction] = Field(default={})
    attacks: list[Attack] = Field(default=[])
    benchmarks: dict[Text, Benchmark] = Field(default={})


class SimilarPair(Record):
    """The names of a test image and a training image that are near-duplicates.

    Attributes:
        test, train: name of the test image and of the training image.
    """

    test: Text
    train: Text


class Audit(Record):
    """`audit.json`: the results of `thumbnet audit`; accuracies without images are None.

    Attributes:
        measure: the similarity from which two images are near-duplicates.
        test_images: number of test images.
        near_duplicates: number of test images with a near-duplicate among the training images.
        identical: number of these whose pixels are identical.
        other_label: number of these whose label differs from that of the training image.
        most_similar: the most similar pairs.
        accuracy: accuracy on all test images.
        accuracy_without: accuracy on the test images without a near-duplicate.
        accuracy_on_duplicates: accuracy on the test images with one.
    """

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
    """A point of a learning curve.

    Attributes:
        train_images: number of training images.
        accuracy: accuracy on the validation images.
        recall: recall of each class; None for a class without validation images.
    """

    train_images: Count
    accuracy: Fraction
    recall: list[Fraction | None]


class MoreImages(Record):
    """The estimated gain in accuracy from more images of each class.

    Attributes:
        per_class: number of additional images of each class.
        gain: estimated gain in accuracy.
        low, high: 95% interval of `gain`.
    """

    per_class: Count
    gain: Fraction
    low: Fraction
    high: Fraction


class LearningCurve(Record):
    """`learning_curve.json`: validation accuracy against the number of training images.

    Attributes:
        validation_images: number of validation images.
        classes: names of the classes, in the order of `recall`.
        points: the points of the curve, by increasing number of training images.
        more: the estimated gain from more images.
        neediest: the class with the lowest recall when training on all images.
    """

    validation_images: Count
    classes: list[Text]
    points: list[CurvePoint]
    more: MoreImages
    neediest: Text


class ExplainedImage(Record):
    """An explained test image.

    Attributes:
        image: index of the test image.
        kind: why it was chosen, such as "most confident mistake".
        label, predicted: the true and the predicted class.
        confidence: probability of the predicted class.
    """

    image: Count
    kind: Text
    label: Text
    predicted: Text
    confidence: Fraction


class Explanations(Record):
    """`explanations.json`: descriptions of the figures of `thumbnet explain`.

    Attributes:
        gallery: the explained images, in the order of the gallery.
        grad_cam: the layer that Grad-CAM explains; None if it does not apply.
        grad_cam_reason: why there is no Grad-CAM; None if there is.
        first_layer_reason: why the weights of the first layer are not shown; None if they are.
        projected_images: number of test images in the chart of features.
        projected_variance: fraction of the variance of the features that the chart shows.
    """

    gallery: list[ExplainedImage]
    grad_cam: Text | None
    grad_cam_reason: Text | None
    first_layer_reason: Text | None
    projected_images: Count
    projected_variance: Fraction


class SeedFigure(Record):
    """A metric over several seeds.

    Attributes:
        mean: mean of the values; None if a run lacks the metric.
        std: sample standard deviation; None if a run lacks the metric or there is only one run.
        values: the value of each run.
    """

    mean: float | None
    std: Annotated[float | None, Field(validation_alias=AliasChoices("std", "deviation"))]
    values: list[float | None]


class SeedSummary(Record):
    """`seeds.json`: metrics of one recipe over several seeds.

    Attributes:
        recipe: name of the recipe.
        seeds: seed of each run.
        runs: name of each run directory.
        figures: the metrics by name.
    """

    recipe: Text
    seeds: list[Count]
    runs: list[Text]
    figures: dict[Text, SeedFigure]
