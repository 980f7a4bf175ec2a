"""Pearson's r in exact rationals, rounded once."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def exact_r(a: NDArray[np.floating], y: NDArray[np.floating], groups: NDArray[np.int64] | None = None) -> float | None:
    """r of the rows that have `y`, about the means of their groups where there are any; None where it is undefined."""
    saa = syy = say = Fraction(0)
    has = ~np.isnan(y)
    groups = np.zeros(len(a), np.int64) if groups is None else groups
    for group in set(groups[has].tolist()):
        inside = has & (groups == group)
        left, right = ([Fraction(float(x)) for x in values[inside]] for values in (a, y))
        mean_a, mean_y = sum(left, Fraction(0)) / len(left), sum(right, Fraction(0)) / len(right)
        saa += sum(((x - mean_a) ** 2 for x in left), Fraction(0))
        syy += sum(((x - mean_y) ** 2 for x in right), Fraction(0))
        say += sum(((x - mean_a) * (z - mean_y) for x, z in zip(left, right, strict=True)), Fraction(0))
    if saa == 0 or syy == 0:
        return None
    squared = say * say / (saa * syy)
    return math.copysign(math.sqrt(squared.numerator / squared.denominator), say)
