"""A session's state as a frozen history: what the rules read and the store keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stethoscope.facts.training import Curve, History, Loop, Optimizer, Parameter, Sampling
from stethoscope.observe.training.looks import VALUES_PER_LAYER, VALUES_PER_PARAMETER
from stethoscope.observe.training.sites import site_of

if TYPE_CHECKING:
    from stethoscope.observe.training.session import Session


def history_of(
    session: Session, *, finished: bool = True, ended_by: str = "", with_curves: bool = True
) -> History:
    """Everything that a session has heard so far.

    Without curves, their points and the telemetry are left out: the store has them already.
    """
    parameters = _parameters(session)
    curves = tuple(curve.fact() for curve in list(session.curves.values()))
    if not with_curves:
        curves = tuple(Curve(c.name, c.kind, c.phase, site=c.site) for c in curves)
    elif not session.steps:
        curves = tuple(replace(c, steps=np.arange(c.values.size)) if c.kind == "loss" else c for c in curves)
    history = History(
        steps=session.steps,
        finished=finished,
        ended_by=ended_by,
        parts=session.parts,
        models=session.book.model_facts(),
        layers=tuple(layer.fact() for layer in session.book.layers),
        parameters=parameters,
        optimizers=_optimizers(session, parameters),
        loop=_loop(session),
        losses=session.losses.facts(),
        curves=curves,
        validation=session.passes.facts(),
        inputs=tuple(
            entry.fact(session.book.models[entry.model].first_layer) for entry in session.batches.inputs.values()
        ),
        batches=session.batches.facts(),
        units=session.looker.unit_facts(max(0, session.steps - 1)),
        birth=session.birth,
        sampling=_sampling(session),
    )
    return replace(history, telemetry=session.looks.fact()) if with_curves else history


def _parameters(session: Session) -> tuple[Parameter, ...]:
    held: dict[int, int] = {}
    for optimizer in session.optimizers:
        for tensor in optimizer.tensors():
            held.setdefault(id(tensor), optimizer.index)
    any_graph = bool(session._graphs_read)
    facts = []
    for entry in session.book.parameters:
        tensor = entry.tensor()
        if tensor is not None:
            entry.optimizer = held.get(id(tensor), entry.optimizer)
            entry.trainable = tensor.requires_grad
            if tensor.grad is not None:
                entry.received_gradient = True
        if any_graph and entry.in_graph is None:
            entry.in_graph = False
        facts.append(entry.fact())
    return tuple(facts)


def _optimizers(session: Session, parameters: tuple[Parameter, ...]) -> tuple[Optimizer, ...]:
    facts = []
    for entry in session.optimizers:
        never = sum(
            1
            for p in parameters
            if p.optimizer == entry.index and p.trainable and p.in_graph is False and not p.received_gradient
        )
        facts.append(entry.fact(never))
    return tuple(facts)


def _loop(session: Session) -> Loop:
    place, kind, limit = session.clip or (None, "", float("nan"))
    scheduler = next(iter(session.schedulers.values()), None)
    sites = tuple(site for site in (site_of(place) for place in session.backward_sites) if site is not None)
    return Loop(
        cycle=session.cycles.typical(),
        cycles_watched=session.cycles.watched,
        backward_calls=session.backward_calls,
        backward_sites=sites,
        clip_site=site_of(place),
        clip_kind=kind,
        clip_limit=limit,
        scheduler_kinds=tuple(session.schedulers),
        scheduler_site=site_of(scheduler),
    )


def _sampling(session: Session) -> Sampling:
    budget = session.budget
    blind = tuple(session.blind.values()) + tuple(session.notices)
    if session.book.too_many:
        blind += ("only the first 1,000 layers and 2,000 parameters are listened to",)
    return Sampling(
        values_per_layer=VALUES_PER_LAYER,
        values_per_parameter=VALUES_PER_PARAMETER,
        budget=budget.share,
        every=budget.every,
        looks=budget.looks,
        burst_looks=budget.burst_looks,
        steps=session.steps,
        look_seconds=budget.look_seconds,
        step_seconds=budget.step_seconds,
        guard_seconds=budget.guard_seconds,
        estimated_cost=budget.estimated_cost,
        blind=blind,
    )
