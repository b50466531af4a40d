"""Labels that a network did not believe while it was trained, as a recorded run tells, beside the data itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from stethoscope.core.errors import UsageError
from stethoscope.facts.data import Dynamics, LabelSuspects, Suspect
from stethoscope.facts.learning import Learning

FEWEST = 30
"""Rows that a run must have followed by their number."""
AGREE = 0.9
"""Share of the run's labels that must be those of the data: some may have been corrected since."""
METHOD = "the network's own answers while it was trained, by its weights at {} steps of the run"


def from_run(seen: Learning, labels: Mapping[int, str], rows: int, target: str) -> tuple[LabelSuspects, Dynamics]:
    """The rows whose label the network contradicted, by their place in the data, and the history of each row.

    Args:
        seen: what the run has recorded.
        labels: of the rows that are known, by their place in the data.
        rows: of the data.
        target: the column of the labels.

    Raises:
        UsageError: the run was trained on other rows than these.
    """
    if seen.why or not seen.rows:
        return LabelSuspects("", f"the run did not follow its rows: {seen.why or 'none were kept'}"), Dynamics()
    followed = np.flatnonzero(seen.index >= 0)
    if followed.size < FEWEST:
        return LabelSuspects("", "the run knows its rows by step and place only, not by their number"), Dynamics()
    if int(seen.index.max()) >= rows:
        raise UsageError(f"the run was trained on more than these {rows:,} rows: give the data that it was trained on")
    known = [int(row) for row in followed if int(seen.index[row]) in labels]
    names = _names(seen, known, labels)
    same = [row for row in known if names[int(seen.given[row])] == labels[int(seen.index[row])]]
    if len(same) < AGREE * len(known) or len(set(names.values())) < len(names):
        raise UsageError(
            f"the run was trained on other labels than those in {target!r}: {len(same):,} of {len(known):,} rows "
            "agree. Give the rows in the order in which its data set had them"
        )
    kept = np.array(same, np.int64)
    order = kept[np.argsort(seen.index[kept], kind="stable")]
    below = kept[(seen.margin[kept] < 0) & (seen.told[kept] != seen.given[kept])]
    below = below[np.argsort(seen.margin[below], kind="stable")]
    suspects = tuple(
        Suspect(
            int(seen.index[row]), float(1 / (1 + np.exp(-max(seen.margin[row], -50.0)))),
            names[int(seen.given[row])], names.get(int(seen.told[row]), str(seen.told[row])),
            float(seen.probability[row]),
        )
        for row in below.tolist()
    )  # fmt: skip
    told = LabelSuspects(
        METHOD.format(len(seen.steps)), suspects=suspects, rows=kept.size, accuracy=seen.named, chance=seen.majority,
        noise=len(suspects) / max(1, kept.size), confident=seen.surest, contradicted=seen.contradicted,
    )  # fmt: skip
    return told, Dynamics(
        len(seen.steps), seen.index[order], seen.margin[order], seen.confidence[order], seen.variability[order],
        seen.forgotten[order],
    )  # fmt: skip


def _names(seen: Learning, known: list[int], labels: Mapping[int, str]) -> dict[int, str]:
    """What each number of a class is called in the data: by most of its rows."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for row in known:
        counts[int(seen.given[row])][labels[int(seen.index[row])]] += 1
    return {code: names.most_common(1)[0][0] for code, names in counts.items()}
