"""The served models and their versions, which can be loaded and unloaded at run time."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from thumbnet.engines import Engine, file_digest, open_engine
from thumbnet.errors import InputError, ThumbnetError
from thumbnet.runs.run import Run
from thumbnet.serving.batching import Batcher
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings

_ABSOLUTE = re.compile(r"(?<![\w./])/[^\s'\",;:()]+")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,63}", re.ASCII)


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded model.

    Attributes:
        name: its name in requests.
        version: counted from 1; a request that names no version gets the highest.
        engine: computes the predictions.
        model_sha256: of the model file, or of the graph where a format has several files.
        calibrated: whether a temperature was fitted, so that confidence matches accuracy.
        batcher: the queue in front of it.
        users: counts the requests that are using it.
    """

    name: str
    version: int
    engine: Engine
    model_sha256: str
    calibrated: bool
    batcher: Batcher
    users: "_Users"

    def description(self) -> dict[str, str]:
        """The fields that every protocol adds to its responses."""
        return {"engine": self.engine.name, "model_sha256": self.model_sha256}


class _Users:
    """Counts the requests that use a model; a caller can wait until none is left."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        self._count += 1
        self._idle.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def gone(self) -> None:
        await self._idle.wait()


class Repository:
    """The models of a service.

    Args:
        runs: the runs to serve, as name and directory; a repeated name adds a version.
        directory: contains further runs that can be loaded by the name of their directory; a
            directory with numbered subdirectories is one model with these versions.
        settings: of the service.
        metrics: of the service.
        engine_name: see `thumbnet.engines.open_engine`.

    Raises:
        InputError: a name cannot be part of a URL, or the directory does not exist.
    """

    def __init__(
        self,
        runs: Iterable[tuple[str, Path]],
        settings: Settings,
        metrics: Metrics,
        directory: Path | None = None,
        engine_name: str | None = None,
    ) -> None:
        self._given: dict[str, dict[int, Path]] = {}
        for name, path in runs:
            if not _NAME.fullmatch(name):
                raise InputError(
                    f"{name!r} cannot be the name of a model: use letters, digits, '.', '_' and "
                    f"'-', for example NAME={path}"
                )
            versions = self._given.setdefault(name, {})
            versions[len(versions) + 1] = path
        if directory is not None and not directory.is_dir():
            raise InputError(f"{directory} is not a directory; give one that contains runs")
        self._directory = directory
        self._settings, self._metrics, self._engine_name = settings, metrics, engine_name
        self._loaded: dict[str, dict[int, ServedModel]] = {}
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The models named at start-up; the service is ready when all of them are loaded."""
        return tuple(self._given)

    def loaded(self) -> list[ServedModel]:
        """All loaded models, each with its latest version first."""
        return [
            model
            for versions in self._loaded.values()
            for _, model in sorted(versions.items(), reverse=True)
        ]

    @property
    def ready(self) -> bool:
        """Whether all models named at start-up are loaded."""
        return self._given.keys() <= self._loaded.keys()

    def find(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model that a request names; the first one if it names none.

        Raises:
            RequestError: there is no such model or version.
        """
        versions = self._loaded.get(next(iter(self._loaded), "") if name is None else name)
        if not versions:
            known = ", ".join(self._loaded) or "none"
            raise RequestError(404, f"no model of that name is loaded; loaded models: {known}")
        if version is None:
            return versions[max(versions)]
        found = versions.get(int(version)) if re.fullmatch("[0-9]{1,9}", version) else None
        if found is None:
            known = ", ".join(map(str, sorted(versions)))
            raise RequestError(404, f"the model has no such version; loaded versions: {known}")
        return found

    @contextmanager
    def use(self, name: str | None = None, version: str | None = None) -> Iterator[ServedModel]:
        """Find a model, and keep it from being closed until the request is answered.

        Raises:
            RequestError: there is no such model or version.
        """
        model = self.find(name, version)
        model.users.enter()
        try:
            yield model
        finally:
            model.users.leave()

    async def load(self, name: str) -> None:
        """Open a model, then replace the loaded one of that name with it.

        Raises:
            RequestError: no model has that name, or it cannot be opened.
        """
        paths = await asyncio.to_thread(self._paths, name)
        if not paths:
            raise RequestError(404, "there is no model of that name")
        async with self._changing:
            opened = await self._open(paths)
            before = self._loaded.get(name, {})
            self._loaded[name] = {
                version: self._serve(name, version, found) for version, found in opened.items()
            }
        self._close(before)

    async def _open(self, paths: dict[int, Path]) -> dict[int, "_Opened"]:
        """Open all versions of a model, in a thread that is abandoned if it hangs.

        Raises:
            RequestError: a version cannot be opened, or not in time.
        """
        threads = ThreadPoolExecutor(1, thread_name_prefix="loading")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                return {
                    version: await loop.run_in_executor(threads, _open, path, self._engine_name)
                    for version, path in paths.items()
                }
        except TimeoutError as error:
            seconds = self._settings.load_seconds
            raise RequestError(503, f"the model was not loaded within {seconds:g} s", 1) from error
        except ThumbnetError as error:
            raise RequestError(400, _without_paths(str(error), paths.values())) from error
        finally:
            threads.shutdown(wait=False)

    async def unload(self, name: str) -> None:
        """Remove a model; it is closed once its accepted requests are answered.

        Raises:
            RequestError: it is not loaded.
        """
        async with self._changing:
            if name not in self._loaded:
                raise RequestError(404, "no model of that name is loaded")
            before = self._loaded.pop(name)
        self._metrics.forget(name)
        self._close(before)

    async def close(self) -> None:
        """Unload everything."""
        for versions in self._loaded.values():
            self._close(versions)
        self._loaded.clear()
        await asyncio.gather(*self._closing)

    def index(self) -> list[dict[str, Any]]:
        """Every version of every available model, and whether it is loaded."""
        lines = []
        for name in sorted({*self._given, *self._names_in_directory(), *self._loaded}):
            loaded = self._loaded.get(name, {})
            for version in sorted({*self._paths(name), *loaded}):
                state = "READY" if version in loaded else "UNAVAILABLE"
                lines.append({"name": name, "version": str(version), "state": state, "reason": ""})
        return lines

    def _serve(self, name: str, version: int, opened: "_Opened") -> ServedModel:
        settings = self._settings
        batcher = Batcher(
            opened.engine.predict,
            settings.batch_images,
            settings.batch_seconds,
            settings.queue_images,
            self._metrics.batch_observer(name),
        )
        self._metrics.watch_queue(name, version, batcher)
        return ServedModel(name, version, *opened, batcher, _Users())

    def _close(self, versions: dict[int, ServedModel]) -> None:
        """Close models in the background, once their last request is answered."""

        async def close(model: ServedModel) -> None:
            await model.users.gone()
            await model.batcher.close()

        for model in versions.values():
            closing = asyncio.create_task(close(model))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _names_in_directory(self) -> list[str]:
        if self._directory is None:
            return []
        found = [path.name for path in self._directory.iterdir() if path.is_dir()]
        return [name for name in found if _NAME.fullmatch(name) and self._paths(name)]

    def _paths(self, name: str) -> dict[int, Path]:
        """The run of each version of a model; empty if no model has that name."""
        if name in self._given:
            return self._given[name]
        if self._directory is None or not _NAME.fullmatch(name):
            return {}
        place = self._directory / name
        if not place.resolve().is_relative_to(self._directory.resolve()):
            return {}  # a symbolic link to a place outside the directory
        if _is_run(place):
            return {1: place}
        numbered = sorted(place.glob("[0-9]*")) if place.is_dir() else []
        return {
            int(path.name): path for path in numbered if path.name.isdecimal() and _is_run(path)
        }


def _is_run(path: Path) -> bool:
    run = Run(path)
    return run.recipe_path.is_file() and run.finished


class _Opened(NamedTuple):
    """What opening a run gives; see `ServedModel`."""

    engine: Engine
    model_sha256: str
    calibrated: bool


def _open(path: Path, engine_name: str | None) -> _Opened:
    run = Run.open(path)
    engine = open_engine(run, engine_name)
    digest = file_digest(engine.path) if engine.path.is_file() else ""
    return _Opened(engine, digest, run.metrics().calibration.reason is None)


def _without_paths(message: str, paths: Iterable[Path]) -> str:
    """A message without this machine's directories, which clients need not know."""
    for path in paths:
        message = message.replace(str(path), path.name)
    return _ABSOLUTE.sub(lambda found: Path(found[0]).name, message)
