"""The gradients of the terms of a loss, as evidence. A check measures them."""

from __future__ import annotations

from stethoscope.core.finding import Evidence
from stethoscope.facts.training import History


def gradients_of_terms(seen: History, one: str, other: str = "") -> list[Evidence]:
    """What flows through one loss function beside what flows through another; nothing where that was not measured.

    Args:
        seen: the run.
        one: name of the loss function that should lead.
        other: name of another; what is added to the loss functions when empty.
    """
    norms = {term.function: term.gradient_norm for term in seen.preflight.terms}
    if one == other or not norms.get(one, 0.0) > 0 or not norms.get(other, 0.0) > 0:
        return []
    through = f"`{other}`" if other else "what is added"
    return [
        Evidence(
            f"gradient through `{one}` / through {through}, at the first step",
            f"{norms[one]:.2g} / {norms[other]:.2g} = {norms[one] / norms[other]:.2g}",
            "0.1 to 10",
            "norms over all parameters",
        )
    ]
