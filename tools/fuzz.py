"""Coverage-guided fuzzing of the readers of untrusted files. Run by hand.

    pip install atheris
    .venv/bin/python tools/fuzz.py image CORPUS -max_total_time=300

The first argument is a target; the others are passed to libFuzzer. CORPUS is a directory; if empty,
it is seeded with valid files. A reader may raise `InputError` with one sentence; any other
exception, a signal, a hang, or more than 2 GB of memory is a finding.

The targets litert, onnx and openvino open an exported model of a run whose recorded digests are
those of the changed file. Each takes a second or two, as a child process tries the file first.
"""

import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

READERS = ["thumbnet", "PIL", "pickle", "tarfile", "gzip", "zipfile", "tomllib", "numpy.lib"]
with atheris.instrument_imports(include=READERS):
    import pickle
    import tarfile
    import zipfile

    import h5py
    import numpy as np
    from PIL import Image

    from thumbnet.data.arrays import read_arrays
    from thumbnet.data.images import read_image
    from thumbnet.data.reading import Reading
    from thumbnet.data.sources.archive import read_tar
    from thumbnet.data.sources.pickled import read_pickled_batch
    from thumbnet.data.table_text import list_csv
    from thumbnet.engines import export_path, open_engine
    from thumbnet.engines.files import digests_of
    from thumbnet.errors import InputError
    from thumbnet.evaluation.predictions import Predictions
    from thumbnet.recipe import Recipe, shipped_recipes
    from thumbnet.record import read_record
    from thumbnet.runs.model_file import require_safe_model
    from thumbnet.runs.records import Environment, Exports, Metrics
    from thumbnet.runs.run import Run
    from thumbnet.serving.model import bundled_run

SCRATCH = Path(tempfile.mkdtemp(prefix="thumbnet-fuzz-"))
# What passed a trial is remembered there.
os.environ["THUMBNET_CACHE"] = str(SCRATCH / "cache")
OLD_RUN = Path(__file__).parents[1] / "tests" / "runs" / "version_0_1_0"


def image(path: Path) -> None:
    read_image(path, (32, 32, 3))
    read_image(path, (28, 28, 1))


def pickled(path: Path) -> None:
    read_pickled_batch(path.read_bytes(), "batch")


def tar(path: Path) -> None:
    for _ in read_tar(path, {"data_batch_1"}):
        pass


def arrays(path: Path) -> None:
    read_arrays(path, Reading())


def table(path: Path) -> None:
    list_csv(path, Reading())


def predictions(path: Path) -> None:
    Predictions.load(path)


def model(path: Path) -> None:
    require_safe_model(path)


def recipe(path: Path) -> None:
    Recipe.read(path.rename(path.with_suffix(".toml")))


def record(path: Path) -> None:
    for schema in (Environment, Metrics):
        read_record(path, schema)


def litert(path: Path) -> None:
    _open_exported("litert", path)


def onnx(path: Path) -> None:
    _open_exported("onnx", path)


def openvino(path: Path) -> None:
    _open_exported("openvino", path)


def _open_exported(name: str, content: Path) -> None:
    """Open a run's export whose main file was replaced, with digests that match."""
    run = _exported_run(name)
    exported = export_path(run.exports_path, name)
    shutil.copy(content, exported / "model.xml" if name == "openvino" else exported)
    record = run.exports()[name].model_copy(update={"files": digests_of(exported)})
    exports = Exports({name: record})
    run.exports_record_path.write_text(exports.model_dump_json(), encoding="utf-8")
    open_engine(run, name)


def _exported_run(name: str) -> Run:
    """A run with one export."""
    source = bundled_run() if name == "litert" else Run(OLD_RUN)
    run = Run(SCRATCH / name)
    if not run.path.exists():
        shutil.copytree(source.path, run.path)
        if name == "openvino":
            from openvino import Core, save_model

            folder = export_path(run.exports_path, name)
            folder.mkdir()
            save_model(Core().read_model(run.exports_path / "model.onnx"), folder / "model.xml")
            exports = Exports({name: run.exports()["onnx"]})
            run.exports_record_path.write_text(exports.model_dump_json(), encoding="utf-8")
    return run


TARGETS: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        *(image, pickled, tar, arrays, table, predictions, model, recipe, record),
        *(litert, onnx, openvino),
    )
}


def seeds(target: str) -> list[bytes]:
    """Valid files to start from."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (8, 8, 3), np.uint8)
    match target:
        case "image":
            return [
                _saved(Image.fromarray(pixels).convert(mode), kind)
                for kind, modes in (
                    ("PNG", "L P RGB RGBA"),
                    ("JPEG", "L RGB CMYK"),
                    ("WEBP", "RGB"),
                )
                for mode in modes.split()
            ]
        case "pickled":
            batch = {b"data": pixels.reshape(1, -1), b"labels": [3]}
            return [pickle.dumps(batch, protocol=protocol) for protocol in (0, 1, 2)]
        case "arrays":
            file = io.BytesIO()
            np.savez(file, x=np.stack(8 * [pixels]), y=np.arange(8) % 2)
            return [file.getvalue()]
        case "table":
            return [b"path,label,split\na.png,cat,train\nb.png,dog,test\n"]
        case "predictions":
            file = io.BytesIO()
            probabilities = np.full((4, 2), 0.5, np.float32)
            labels, names = np.zeros(4, np.int64), np.array(["a", "b"])
            np.savez(
                file, probabilities=probabilities, labels=labels, ids=labels, class_names=names
            )
            return [file.getvalue()]
        case "recipe":
            return [Recipe.read(name).to_toml().encode() for name in shipped_recipes()]
        case "record":
            return [json.dumps({"accuracy": 0.5, "run": "a", "versions": {"a": "1"}}).encode()]
        case "model":
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for name in ("metadata.json", "config.json"):
                    archive.writestr(name, '{"class_name": "Dense", "module": "keras.layers"}')
                weights = io.BytesIO()
                with h5py.File(weights, "w") as arrays:
                    arrays["layers/dense/vars/0"] = pixels
                archive.writestr("model.weights.h5", weights.getvalue())
            return [file.getvalue()]
        case "litert" | "onnx" | "openvino":
            exported = export_path(_exported_run(target).exports_path, target)
            return [(exported / "model.xml" if target == "openvino" else exported).read_bytes()]
        case "tar":
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                member = tarfile.TarInfo("cifar/data_batch_1")
                member.size = 4
                archive.addfile(member, io.BytesIO(b"data"))
            return [file.getvalue()]
    return [b""]


def _saved(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz.py {{{','.join(TARGETS)}}} CORPUS [libFuzzer options]")
    target, corpus = sys.argv.pop(1), Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        for number, content in enumerate(seeds(target)):
            (corpus / f"seed-{number}").write_bytes(content)

    def one_input(content: bytes) -> None:
        path = SCRATCH / "input"
        path.write_bytes(content)
        try:
            TARGETS[target](path)
        except InputError as error:
            if "\n" in str(error):
                raise ValueError("the message has several lines") from error

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
