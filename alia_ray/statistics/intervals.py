"""How far a mean over seeds may be from what other seeds and other test images would give. Pure functions.

Seeds and test images are two sources of chance, and each is counted once. The seeds' own values differ by both,
but for what a common test set moves in all of them alike. So the variance of the mean over n seeds is that of the
n values, divided by n, and beside it the covariance of two seeds through the images that they share (Obuchowski
and Rockette, Communications in Statistics B 24, 1995, with seeds for readers and images for cases). With a fresh
test set for each seed nothing is shared, and what is left is Student's t on the seeds' values.

The values are few and the images many. So the chance of a mean as far out as this is taken from Student's t for
the seeds' part of the variance and from the normal distribution for the images', weighted by the parts, as Cochran
weights the quantiles (Cochran and Cox, Experimental Designs, 1957).

Where hardly an image says otherwise than the rest (near 0 and 100 %, or where two arms agree), and where all seeds
give the same, neither part knows how far off the mean may be. There the interval also holds the one that the
pooled images would give if a few more had been seen: two right and two wrong (Agresti and Coull, The American
Statistician 52, 1998), or, of a difference, one that went each way (Bonett and Price, J. Educ. Behav. Stat. 37,
2012).

Of some metrics only what lies below and what lies above can be measured without bias. `between` takes the one end
from the one and the other end from the other.

`benchmarks/interval_coverage.py` prints how often all this covers the truth.
"""

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05  # an interval misses the truth this often
FEW = 5  # images that say otherwise than the rest: with fewer, a variance says little
_NORMAL = 1.959964  # of which LEVEL is beyond
_WIDEST = 13.0  # beyond this is LEVEL of no Student's t
_ROUNDING = 1e-15  # of a sum of squared shares; one image of ten million moves it by more


@dataclass(frozen=True)
class Measured:
    """A share in each seed, or a difference of shares, and what every test image had to do with it."""

    values: np.ndarray  # (seeds,)
    moved: np.ndarray  # (seeds, images): how far an image moved a seed's value; 0 where it is not in its test set
    images: float  # of equal weight, as many as count as much as all of these together
    is_difference: bool = False

    def minus(self, other: "Measured") -> "Measured":
        """The difference to another arm, measured with the same seeds on the same images."""
        fewer = min(self.images, other.images)
        return Measured(self.values - other.values, self.moved - other.moved, fewer, is_difference=True)


@dataclass(frozen=True)
class Interval:
    """The ends of a 95 % interval, and the chance of a mean as far from zero as this if the truth were zero."""

    low: float
    high: float
    p: float


def interval(measured: Measured) -> Interval:
    """The interval of the mean over seeds. A single seed has no chance of seeds in it, only that of the images."""
    seeds = len(measured.values)
    mean = float(measured.values.mean())
    of_images = measured.moved.sum(axis=0) / seeds  # how far an image moved the mean
    own = float((measured.moved**2).sum()) / seeds**2  # what that would be, were no image shared
    if seeds == 1:
        by_seeds, by_images = 0.0, own
    else:
        by_seeds = float(measured.values.var(ddof=1)) / seeds
        by_images = max(0.0, float((of_images**2).sum()) - own) * seeds / (seeds - 1)
    found = around(mean, by_seeds, by_images, seeds - 1)
    if found.low == found.high or _telling(of_images) < FEW:
        pooled = _of_few(mean, of_images, measured.images, measured.is_difference)
        found = Interval(min(found.low, pooled.low), max(found.high, pooled.high), max(found.p, pooled.p))
    least = -1.0 if measured.is_difference else 0.0
    return Interval(max(least, found.low), min(1.0, found.high), found.p)


def between(below: Measured, above: Measured) -> Interval:
    """The interval of something that is, on average, no less than `below` and no more than `above`."""
    if above is below:
        return interval(below)
    low, high = interval(below), interval(above)
    if below.values.mean() > 0:
        p = low.p
    elif above.values.mean() < 0:
        p = high.p
    else:
        p = 1.0
    return Interval(min(low.low, high.low), max(low.high, high.high), p)


def around(mean: float, by_seeds: float, by_images: float, freedom: int) -> Interval:
    """The interval by the two parts of the mean's variance; `freedom` is that of the seeds' part.

    Without a variance it is the mean alone.
    """
    variance = by_seeds + by_images
    if variance < _ROUNDING:
        return Interval(mean, mean, 0.0 if mean else 1.0)
    share, deviation = by_seeds / variance, math.sqrt(variance)

    def beyond(distance: float) -> float:
        return share * beyond_student(distance, freedom) + (1 - share) * _beyond_normal(distance)

    low, high = 0.0, _WIDEST
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > LEVEL else (low, middle)
    return Interval(mean - high * deviation, mean + high * deviation, beyond(abs(mean) / deviation))


def _telling(of_images: np.ndarray) -> float:
    """How many images make up the variance: those that are wrong where few are, all where half of them are."""
    weights = of_images**2
    total = float(weights.sum())
    return 0.0 if total < _ROUNDING else total**2 / float((weights**2).sum())


def _of_few(mean: float, of_images: np.ndarray, images: float, is_difference: bool) -> Interval:
    """The interval of the pooled images, had a few more been seen."""
    more, their_sum = (2, 0) if is_difference else (4, 2)
    centre = (mean * images + their_sum) / (images + more)
    variance = (float((of_images**2).sum()) * images**2 + 2) / (images + more) ** 2
    width = _NORMAL * math.sqrt(variance)
    return Interval(centre - width, centre + width, _beyond_normal(abs(centre) / math.sqrt(variance)))


def _beyond_normal(distance: float) -> float:
    """The chance that a normal deviate is further from zero than this."""
    return math.erfc(distance / math.sqrt(2))


def beyond_student(distance: float, freedom: int) -> float:
    """The same of Student's t with 1, 2, … degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    With 0, of a single seed, it is 0.
    """
    if not freedom:
        return 0.0
    angle = math.atan(distance / math.sqrt(freedom))
    is_odd = freedom % 2
    term = math.cos(angle) if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(1 + is_odd, freedom - 1, 2):
        term *= math.cos(angle) ** 2 * step / (step + 1)
        total += term
    within = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + within) if is_odd else within))
