"""What a result was measured on, written beside every number that a benchmark stores."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "cnnbook" / "data" / "results"


def hardware() -> str:
    """The processor, the cores that this process may use, and the GPU where there is one."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores{gpu}"


def versions() -> dict[str, str]:
    """Python and the libraries that decide how fast and how well things train."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "torch")}}


def save(name: str, script: str, **found: object) -> Path:
    """Write `found` to cnnbook/data/results/<name>.json, whole or not at all, with the machine and `script` named."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    draft = path.with_suffix(".tmp")
    stamp = {"script": script, "hardware": hardware(), "versions": versions()}
    draft.write_text(json.dumps({**stamp, **found}, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
    return path
