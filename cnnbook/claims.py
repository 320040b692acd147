"""Saying what was measured in words that hold on another machine."""

from collections.abc import Sequence


def between(name: str, values: Sequence[float], low: float, high: float) -> None:
    """Print that every value lies in [low, high], as per cent; raise AssertionError with the values where one does not.

    Training gives slightly other digits on another processor, so a page prints bounds that it asserts, one value a
    seed, and never the digits of one machine. `values`, `low` and `high` are fractions in [0, 1].
    """
    outside = [value for value in values if not low <= value <= high]
    if outside or not len(values):
        raise AssertionError(f"{name}: {[round(float(v), 4) for v in values]} should lie in [{low}, {high}]")
    print(f"{name}: between {low:.0%} and {high:.0%} in each of {len(values)} runs")
