"""Results of runs too long for a page: small JSON files, each written by a script of benchmarks/ that it names."""

import json
from importlib.resources import files


def results(name: str) -> dict:
    """What a long run measured: a dict with at least "script", "hardware" and "versions", and the run's own keys.

    Raises ValueError, with the names there are, where nothing is stored under `name`.
    """
    folder = files("cnnbook") / "data" / "results"
    names = sorted(path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json"))
    if name not in names:
        raise ValueError(f"no results are stored under {name!r}; there are: {', '.join(names) or 'none'}")
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
