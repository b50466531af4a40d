"""Labels that a network contradicted while it was trained on them, as a run has recorded it."""

from __future__ import annotations

import numpy as np

from stethoscope.core.finding import Evidence, SuspectRow
from stethoscope.facts.learning import Learning

MOST_SUSPECTS = 2000


def wrong_rows(seen: Learning) -> list[int]:
    """The rows whose given label lies behind another one over the run, the farthest first."""
    below = np.flatnonzero((seen.margin < 0) & (seen.told != seen.given))
    return [int(row) for row in below[np.argsort(seen.margin[below], kind="stable")]]


def suspects_of(seen: Learning, rows: list[int]) -> list[SuspectRow]:
    """These rows, with how they were learned."""
    return [_suspect(seen, row) for row in rows[:MOST_SUSPECTS]]


def _suspect(seen: Learning, row: int) -> SuspectRow:
    forgotten = int(seen.forgotten[row])
    index = int(seen.index[row])
    named = index >= 0
    values = {
        "given": str(seen.given[row]),
        "network": str(seen.told[row]),
        "margin": f"{seen.margin[row]:.3g}",
        "confidence": f"{seen.confidence[row]:.2f}",
        "variability": f"{seen.variability[row]:.2f}",
        "forgotten": "never right" if forgotten < 0 else str(forgotten),
        "step": str(seen.step[row]),
        "place in its batch": str(seen.place[row]),
    }
    where = "the data set of the training loader" if named else f"batch {seen.step[row]}, row {seen.place[row]}"
    why = f"given {seen.given[row]}, the network said {seen.told[row]} ({seen.probability[row]:.0%})"
    return SuspectRow(where, index, tuple(values.items()), why, float(1 / (1 + np.exp(-max(seen.margin[row], -50.0)))))


def evidence_of(seen: Learning, rows: list[int]) -> list[Evidence]:
    """What the network said of them, and whether it knows them by heart at the end."""
    share = seen.contradicted / seen.surest
    return [
        Evidence(
            f"labels contradicted among the {seen.surest:,} rows that the network was surest of",
            f"{seen.contradicted:,} ({share:.1%})",
            "at most 0.3 %, in clean data",
            f"its own answers to {seen.rows:,} training rows, by its weights at {len(seen.steps)} steps",
        ),
        Evidence(
            "all labels that it named as they are given, before it knew them by heart",
            f"{seen.named:.0%}",
            f"{seen.majority:.0%} by the most frequent label",
        ),
        Evidence("rows whose label lies behind another one, over the run", f"{len(rows):,} of {seen.rows:,}", "few"),
        Evidence("of these, known by heart at the end", f"{known_by_heart(seen, rows):.0%}", "none"),
    ]


def known_by_heart(seen: Learning, rows: list[int]) -> float:
    """Share of these rows (0..1) that the network gives their label at the end; 0 without rows."""
    return float(seen.by_heart[rows].mean()) if rows else 0.0


def learning(
    wrong: int = 60, *, rows: int = 1200, named: float = 0.87, contradicted: int = 46, by_heart: int = 40
) -> Learning:
    """Made-up histories of so many rows of which so many were contradicted, the first of them by heart at the end."""
    numbers = np.arange(rows)
    is_wrong = numbers < wrong
    return Learning(
        steps=np.array([8, 16, 32, 64, 128, 256]), right=np.linspace(0.5, 0.9, 6), classes=10, majority=0.11,
        named=named, surest=rows // 2, contradicted=contradicted, step=numbers // 32, place=numbers % 32,
        index=numbers * 7 % rows, given=numbers % 10, told=(numbers + is_wrong) % 10, probability=np.full(rows, 0.8),
        margin=np.where(is_wrong, -3.0, 4.0), confidence=np.where(is_wrong, 0.1, 0.9), variability=np.full(rows, 0.1),
        forgotten=np.where(is_wrong, -1, 0), by_heart=~is_wrong | (numbers < by_heart),
    )  # fmt: skip
