"""How often a difference is marked that is none: paired differences of mean 0, normal and skewed, 6 to 64 cases.

``percentile`` is what marked a difference before (the 95 % percentile interval of the mean excludes 0), ``mark`` what
does now, without and with the correction for eight columns (there: any of the eight). ``power`` is how often a mean of
one standard deviation is marked. ``interval`` is how often the interval beside a mean misses it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from twintrack.metrics.bootstrap import bootstrap_means
from twintrack.metrics.paired_test import LEVEL, holm, paired_p_value

COLUMNS = 8

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

KINDS: dict[str, Draw] = {
    "normal": lambda random, shape: random.normal(size=shape),
    "heavy tails (t, 3)": lambda random, shape: random.standard_t(3, size=shape) / np.sqrt(3),
    "skewed (exponential)": lambda random, shape: random.exponential(size=shape) - 1,
    "very skewed (lognormal)": lambda random, shape: (random.lognormal(size=shape) - np.exp(0.5)) / 2.161,
}


def excludes_zero(values: np.ndarray, random: np.random.Generator, resamples: int) -> bool:
    """Whether the plain percentile interval of the mean lies on one side of 0."""
    means = values[random.integers(0, values.size, size=(resamples, values.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return bool(low > 0 or high < 0)


def rates(draw: Draw, cases: int, *, trials: int, resamples: int, seed: int = 0) -> dict[str, float]:
    """Return the share of trials with a false mark."""
    random = np.random.default_rng(seed)
    before, single, power, missed, family = [], [], [], [], []
    for _ in range(trials // COLUMNS):
        table = draw(random, (cases, COLUMNS))
        values = {}
        for column, found in zip(table.T, bootstrap_means(table, resamples=resamples, seed=0), strict=True):
            before.append(excludes_zero(column, random, resamples))
            values[str(len(values))] = paired_p_value(column, resamples=resamples, seed=0)
            power.append(paired_p_value(column + 1, resamples=resamples, seed=0) < LEVEL)
            missed.append(not found.low <= 0 <= found.high)
        single += [value < LEVEL for value in values.values()]
        family.append(any(value < LEVEL for value in holm(values).values()))
    shares = {"percentile": before, "mark": single, "any of 8": family, "power": power, "interval": missed}
    return {name: float(np.mean(found)) for name, found in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    print(f"{options.trials} differences a line; the aim is {LEVEL:.0%}")
    print(f"{'differences':25} cases  percentile   mark  any of 8  interval  power (1 sd)")
    for kind, draw in KINDS.items():
        for cases in (6, 10, 20, 64):
            found = rates(draw, cases, trials=options.trials, resamples=options.resamples)
            print(
                f"{kind:25} {cases:5}  {found['percentile']:10.1%}  {found['mark']:5.1%}  {found['any of 8']:8.1%}"
                f"  {found['interval']:8.1%}  {found['power']:12.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
