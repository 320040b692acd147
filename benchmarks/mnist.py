"""MNIST: time to 99.0 % row by row, and the accuracy of two nets over seeds: python benchmarks/mnist.py

`mnist_speed.py` and `mnist_accuracy.py` say how each is measured. Results go to cnnbook/data/results/mnist_speed.json
and mnist_nets.json, and tables for the README are printed. A run that is stored is not measured again on the same
machine with the same versions, so a call that was stopped goes on where it was; `--fresh` begins anew.
"""

import argparse
import re
import statistics
import tempfile
import time

import mnist_accuracy
import mnist_speed
import torch
from machine import hardware, save, versions
from mnist_speed import LISTING, TARGET, Recipe
from tqdm import tqdm

from cnnbook.data import results

SCRIPT = "benchmarks/mnist.py"


def stored(name: str, **same: object) -> dict:
    """What earlier calls stored of this benchmark on this machine with these versions; else nothing."""
    try:
        found = results(name)
    except ValueError:
        return {}
    here = {"hardware": hardware(), "versions": versions(), **same}
    return {} if any(found.get(key) != value for key, value in here.items()) else found


def speed(seeds: int, device: torch.device, given: argparse.Namespace) -> None:
    """Measure what is not stored yet of the rows whose name matches `--rows`, and print the table."""
    rows, stop = mnist_speed.recipes(), time.perf_counter() + 60 * given.minutes
    fixed = {"threads": torch.get_num_threads(), "target": TARGET, "protocol": mnist_speed.__doc__}
    before = {} if given.fresh or given.quick else stored("mnist_speed", threads=fixed["threads"])
    fixed |= {"note": given.note or before.get("note", "")}
    runs, pace = {row["name"]: row["runs"] for row in before.get("rows", [])}, before.get("pace", {})
    todo = [(name, seed) for seed in range(seeds) for name in rows if re.search(given.rows, name)]
    todo = [(name, seed) for name, seed in todo if seed not in [one["seed"] for one in runs.get(name, [])]]
    with tempfile.TemporaryDirectory() as folder:
        digits = mnist_speed.Digits(folder, device, 1000 if given.quick else None)
        pace = pace or mnist_speed.pace(rows, digits, *([1, 2] if given.quick else []))
        for name, seed in (progress := tqdm(todo)):
            if time.perf_counter() > stop:
                break
            progress.set_description(f"{name}, seed {seed}")
            runs.setdefault(name, []).append(mnist_speed.run(rows[name], seed, digits))
            if not given.quick:
                save("mnist_speed", SCRIPT, **fixed, rows=summary(runs, rows, pace), pace=pace)
    print(speed_table(summary(runs, rows, pace)))


def summary(runs: dict[str, list[dict]], rows: dict[str, Recipe], pace: dict[str, dict]) -> list[dict]:
    """Medians over the seeds of each row, in the rows' order; a ratio compares runs of the same seed."""
    listing = {one["seed"]: one["seconds"] for one in runs.get(LISTING, [])}
    found = []
    for name in (name for name in rows if name in runs):
        row = sorted(runs[name], key=lambda one: one["seed"])
        ratios = [listing[one["seed"]] / one["seconds"] for one in row if one["seed"] in listing]
        found.append(
            {
                "name": name,
                "changed": {key: value for key, value in vars(rows[name]).items() if value},
                "median_seconds": round(statistics.median(one["seconds"] for one in row), 2),
                "median_epochs": statistics.median(mnist_speed.epochs(rows[name], one) for one in row),
                "median_ratio": round(statistics.median(ratios), 2) if ratios else None,
                "reached": sum(one["accuracies"][-1] >= TARGET for one in row),
                **pace[name],
                "runs": row,
            }
        )
    return found


def speed_table(rows: list[dict]) -> str:
    lines = ["| row | s to 99.0 % | faster | epochs | s an epoch | faster | reached | test accuracies, % |"]
    lines.append("|" + "---|" * 8)
    for row in rows:
        accuracies = ", ".join(f"{100 * one['accuracies'][-1]:.2f}" for one in row["runs"])
        ratio = f"{row['median_ratio']:.1f}×" if row["median_ratio"] else ""
        whole = f"{row['median_seconds']:.1f} | {ratio} | {row['median_epochs']:g}"
        epoch = f"{row['median_seconds_an_epoch']:.1f} | {row['median_epoch_ratio']:.1f}×"
        reached = f"{row['reached']} of {len(row['runs'])}"
        lines.append(f"| {row['name']} | {whole} | {epoch} | {reached} | {accuracies} |")
    return "\n".join(lines)


def nets(seeds: int, device: torch.device, given: argparse.Namespace) -> None:
    """Train each net over the seeds that are not stored yet, and print the table."""
    trial = given.quick or given.held_out
    found = {} if trial or given.fresh else stored("mnist_nets").get("nets", {})
    data = mnist_accuracy.load(device, given.held_out, 1000 if given.quick else None)
    for seed in range(seeds):
        for name in (name for name in mnist_accuracy.TRAINERS if re.search(given.rows, name)):
            net = found.setdefault(name, {"runs": []})
            if seed in [one["seed"] for one in net["runs"]]:
                continue
            net |= mnist_accuracy.measure(name, data, seed, net["runs"])
            if not trial:
                save("mnist_nets", SCRIPT, protocol=mnist_accuracy.__doc__, nets=found)
    print(nets_table(found))


def nets_table(found: dict[str, dict]) -> str:
    lines = ["| net | parameters | epochs | test accuracy, % | every seed | median seconds |", "|" + "---|" * 6]
    for name, net in found.items():
        percent = [100 * one["accuracy"] for one in net["runs"]]
        spread = f" ± {statistics.stdev(percent):.2f}" if len(percent) > 1 else ""
        every = ", ".join(f"{value:.2f}" for value in percent)
        seconds = statistics.median(one["seconds"] for one in net["runs"])
        mean = f"{statistics.mean(percent):.2f}{spread}"
        lines.append(f"| {name} | {net['parameters']:,} | {net['epochs']} | {mean} | {every} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true", help="only the time to 99.0 %%")
    parser.add_argument("--nets", action="store_true", help="only the accuracy of the two nets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does it run? 1,000 digits, one seed, nothing stored")
    parser.add_argument("--rows", default="", help="only rows, or nets, whose name matches this expression")
    parser.add_argument("--minutes", type=float, default=1e9, help="speed: start no further run after so long")
    parser.add_argument("--held-out", action="store_true", help="nets: test on 10,000 training images, store nothing")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is stored")
    parser.add_argument("--note", default="", help="speed: what a reader of the stored times should know")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{hardware()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    seeds = 1 if given.quick else given.seeds
    if given.speed or not given.nets:
        speed(seeds, device, given)
    if given.nets or not given.speed:
        nets(seeds, device, given)


if __name__ == "__main__":
    main()
