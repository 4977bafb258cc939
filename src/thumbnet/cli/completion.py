"""Shell completion of recipes and runs."""

import os
from pathlib import Path

_RECIPE = "recipe.toml"


def complete_recipe(incomplete: str) -> list[str]:
    """The shipped recipes, `auto`, and recipe files that start with the incomplete text."""
    from thumbnet.recipe import shipped_recipes

    names = [name for name in ("auto", *shipped_recipes()) if name.startswith(incomplete)]
    return names + [text for text, path in _matching_paths(incomplete) if _is_recipe(path)]


def complete_run(incomplete: str) -> list[str]:
    """Run directories, and other directories, that start with the incomplete text."""
    return [
        text if (path / _RECIPE).is_file() else f"{text}/"
        for text, path in _matching_paths(incomplete)
        if path.is_dir()
    ]


def _is_recipe(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".toml"


def _matching_paths(incomplete: str) -> list[tuple[str, Path]]:
    """Entries of a directory that start with the text: as the user would type it, and its path."""
    folder, beginning = os.path.split(incomplete)
    try:
        found = sorted(Path(folder or ".").expanduser().iterdir())
    except (OSError, RuntimeError):
        return []
    return [
        (os.path.join(folder, path.name), path)  # noqa: PTH118
        for path in found
        if path.name.startswith(beginning) and not (path.name.startswith(".") and not beginning)
    ]
