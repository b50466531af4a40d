"""How often the comparison of two sets may raise an alarm although nothing has changed.

A report promises at most `REPORT` false errors and warnings, over all columns and all rules together. Each rule that
judges by chance has a share of that, and divides it among its columns by the procedure of Benjamini and Hochberg,
which keeps the chance of any alarm at the share where nothing has changed. `bench/data_honesty.py` measures it.
"""

from __future__ import annotations

REPORT = 0.01
"""Chance of any false error or warning in a report on unchanged data."""
SHARES = {
    "distribution-shift": 0.002,
    "joint shift": 0.001,
    "embedding-shift": 0.001,
    "label-shift": 0.001,
    "prediction-shift": 0.001,
    "new-categories": 0.001,
    "missing-values-rise": 0.001,
    "out-of-range-values": 0.001,
    "inconsistent-preprocessing": 0.001,
}
"""Of each; the sum is REPORT."""
