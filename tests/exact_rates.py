"""How often units are masked, found by going through all orders."""

from itertools import permutations

import numpy as np


def rates_of_units(lengths, prob):
    """Returns the probability that each unit of a sequence of these lengths is masked."""
    orders = list(permutations(range(len(lengths))))
    expected = np.zeros(len(lengths))
    for order in orders:
        left = prob * sum(lengths)
        for unit in order:
            expected[unit] += min(max(left, 0), lengths[unit]) / lengths[unit] / len(orders)
            left -= lengths[unit]
    return expected
