"""Tails, bands and intervals: how far chance alone moves what was counted in a sample. Standard library and NumPy only.

Checked against SciPy in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_NORMAL = NormalDist()
NEAR = 0.25
"""Distance to the nearest row / to the tenth nearest, up to which a row counts as a lookalike."""
TENTH, FORTIETH = 9, 39


def normal_quantile(share: float) -> float:
    """The value below which this share of a standard normal lies."""
    return _NORMAL.inv_cdf(share)


def normal_above(value: float) -> float:
    """Share of a standard normal above a value; right to all digits far out, too."""
    return 0.5 * math.erfc(value / math.sqrt(2))


def gamma_above(shape: float, value: float) -> float:
    """The regularized upper incomplete gamma function Q(shape, value).

    By its series below the mean and by Lentz's continued fraction above: W. H. Press et al., "Numerical Recipes",
    section 6.2.
    """
    if value <= 0:
        return 1.0
    scale = math.exp(shape * math.log(value) - value - math.lgamma(shape))
    if value < shape + 1:
        term = total = 1 / shape
        step = shape
        while term > total * 1e-15:
            step += 1
            term *= value / step
            total += term
        return max(0.0, 1 - scale * total)
    tiny = 1e-300
    b = value + 1 - shape
    c, d = 1 / tiny, 1 / b
    result = d
    for step in range(1, 100_000):
        a = -step * (step - shape)
        b += 2
        d = a * d + b
        d = 1 / (d if abs(d) > tiny else tiny)
        c = b + a / c
        c = c if abs(c) > tiny else tiny
        result *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return scale * result


def chi_square_above(value: float, freedom: float, shift: float = 0.0) -> float:
    """Share of a chi-square above a value, non-central where `shift` is not 0.

    The non-central one is a Poisson mixture of central ones (N. L. Johnson, S. Kotz, N. Balakrishnan, "Continuous
    Univariate Distributions" 2, chapter 29), summed over the terms that count.
    """
    if shift <= 0:
        return gamma_above(freedom / 2, value / 2)
    half, x = shift / 2, value / 2
    if x <= 0:
        return 1.0
    reach = 9 * math.sqrt(half) + 30
    first = max(0, math.floor(half - reach))
    terms = np.arange(first, math.ceil(half + reach) + 1)
    weights = np.exp(terms * math.log(half) - half - _log_gammas(1.0 + first, terms.size))
    # Q(a + 1, x) = Q(a, x) + x**a exp(-x) / gamma(a + 1)
    shapes = freedom / 2 + terms
    steps = np.exp(shapes * math.log(x) - x - _log_gammas(shapes[0] + 1, terms.size))
    above = gamma_above(float(shapes[0]), x) + np.concatenate([[0.0], np.cumsum(steps[:-1])])
    return float(min(1.0, np.dot(weights, np.minimum(above, 1.0))))


def _log_gammas(first: float, count: int) -> Doubles:
    """The logarithm of the gamma function at `first`, `first + 1`, ..."""
    return math.lgamma(first) + np.concatenate([[0.0], np.cumsum(np.log(first + np.arange(count - 1)))])


def effective(first: int, second: int) -> float:
    """Rows of a single sample that would be as sure as a comparison of two."""
    return first * second / (first + second) if first and second else 0.0


def gap_chance(size: float, first: int, second: int) -> float:
    """Upper bound of the chance that two empirical distributions of equal ones are this far apart.

    The two-sample Dvoretzky-Kiefer-Wolfowitz inequality with the constant e, which needs no least number of rows; for
    discrete columns it is conservative. F. Wei and R. M. Dudley, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities",
    Statistics & Probability Letters 82, 2012.
    """
    return min(1.0, math.exp(1 - 2 * effective(first, second) * max(size, 0.0) ** 2))


def gap_band(chance: float, first: int, second: int) -> float:
    """The distance that two empirical distributions of equal ones exceed with at most this chance."""
    rows = effective(first, second)
    return min(1.0, math.sqrt((1 - math.log(chance)) / (2 * rows))) if rows else 1.0


def rank_chance(size: float, first: int, second: int) -> float:
    """Chance that of two samples of equal columns one is larger than the other in so much more than half of the pairs.

    With ties, less. H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically
    larger than the other", Annals of Mathematical Statistics 18, 1947.
    """
    if size <= 0 or not first or not second:
        return 1.0
    return min(1.0, 2 * normal_above(size / math.sqrt((first + second + 1) / (12 * first * second))))


def bounded_band(chance: float, first: int, second: int) -> float:
    """How far half the sum of |p - q| over categories may be from its mean: exceeded on a side with this chance.

    One row changes it by 1 / rows at most: C. McDiarmid, "On the method of bounded differences", 1989.
    """
    rows = effective(first, second)
    return min(1.0, math.sqrt(-math.log(chance) / (2 * rows))) if rows else 1.0


def share_interval(count: float, rows: float, chance: float = 0.05) -> tuple[float, float]:
    """Of a share, where `count` of `rows` were found. E. B. Wilson, "Probable inference", JASA 22, 1927."""
    if rows <= 0:
        return 0.0, 1.0
    z = normal_quantile(1 - chance / 2)
    share = count / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_ranks(values: Doubles) -> Doubles:
    """Ranks from 1, equal values sharing their mean rank. Shape: (n,) to (n,)."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[codes], np.float64)


def rise_interval(first: tuple[float, float], second: tuple[float, float], chance: float = 0.05) -> tuple[float, float]:
    """Of the share of the second less that of the first; each is a count and its rows.

    Method 10 of R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics
    in Medicine 17, 1998.
    """
    shares = [count / rows if rows else 0.0 for count, rows in (first, second)]
    (low, high), (lower, higher) = share_interval(*first, chance), share_interval(*second, chance)
    rise = shares[1] - shares[0]
    return (
        rise - math.hypot(shares[1] - lower, high - shares[0]),
        rise + math.hypot(higher - shares[1], shares[0] - low),
    )


def all_in_one_chance(count: int, first: int, second: int) -> float:
    """Chance that all of `count` rows, picked before the rows were dealt out to two sets, lie in the second one."""
    if count > second:
        return 0.0
    if count > 1000:
        return float((second / (first + second)) ** count)
    picked = np.arange(count)
    return float(np.exp(np.log((second - picked) / (first + second - picked)).sum()))


def at_least_chance(count: int, mean: float) -> float:
    """Chance that a Poisson count with this mean is so high or higher; small chances keep their digits."""
    if count <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    if mean > count + 10 * math.sqrt(count):
        return 1.0
    log_term = count * math.log(mean) - mean - math.lgamma(count + 1)
    if log_term < -700 and mean > count:
        return 1.0
    terms = np.arange(1, 40 + int(10 * math.sqrt(max(mean, count))) + int(max(0.0, mean - count)) * 2)
    series = 1 + np.exp(np.cumsum(np.log(mean) - np.log(count + terms))).sum()
    return float(min(1.0, math.exp(log_term) * series))


def chosen(chances: Sequence[float], rate: float) -> list[bool]:
    """Which of several findings stand, so that the expected share of false ones among them is at most `rate`.

    Where nothing is true, `rate` is the chance of any. Y. Benjamini and Y. Hochberg, "Controlling the false discovery
    rate", JRSS B 57, 1995.
    """
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    last = max((place for place, i in enumerate(order, 1) if chances[i] <= rate * place / len(order)), default=0)
    standing = set(order[:last])
    return [i in standing for i in range(len(chances))]


def nearer_by_chance(tenth: Doubles, fortieth: Doubles) -> Doubles:
    """Chance that the nearest of many rows lies within `NEAR` of the distance to the tenth nearest.

    In m dimensions, with rows spread evenly near one of them, the nearest lies within a share t of the distance to the
    tenth with probability 1 - (1 - t^m)^9. How many dimensions there are is told by the tenth and the fortieth, of
    which copies are few: (r10 / r40)^m is 0.25 in the middle.

    Args:
        tenth: (rows,) distance to the tenth nearest, above 0.
        fortieth: (rows,) to the fortieth nearest.
    """
    between = np.minimum(tenth / fortieth, 1 - 1e-9)
    dimensions = np.maximum(np.log((TENTH + 1) / (FORTIETH + 1)) / np.log(between), 1.0)
    return np.asarray(1 - (1 - NEAR**dimensions) ** TENTH, np.float64)


def dealt_chance(found: int, picked: int, first: int, second: int) -> float:
    """Upper bound of the chance that of `picked` rows of two sets so many or more lie in the second one.

    The relative-entropy bound, which holds for drawing without replacement, too: W. Hoeffding, "Probability
    inequalities for sums of bounded random variables", JASA 58, 1963. Exact where all of them do.
    """
    if not picked or not second or found * (first + second) <= picked * second:
        return 1.0
    share, fair = found / picked, second / (first + second)
    entropy = share * math.log(share / fair)
    if share < 1:
        entropy += (1 - share) * math.log((1 - share) / (1 - fair))
    return math.exp(-picked * entropy)


def central(count: int, sums: Doubles) -> tuple[float, float, float, float]:
    """Mean and central sums of powers 2 to 4, from sums of powers 1 to 4 around some centre; the mean is from there."""
    with np.errstate(over="ignore", invalid="ignore"):
        first, second, third, fourth = sums
        mean = first / count
        squares = max(0.0, second - count * mean**2)
        cubes = third - 3 * mean * second + 2 * count * mean**3
        fourths = max(0.0, fourth - 4 * mean * third + 6 * mean**2 * second - 3 * count * mean**4)
    return float(mean), float(squares), float(cubes), float(fourths)
