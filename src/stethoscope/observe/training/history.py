"""A session's state as a frozen history: what the rules read and the store keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stethoscope.facts.training import Curve, History, Loop, Optimizer, Parameter, Sampling
from stethoscope.observe.training.looks import VALUES_PER_LAYER, VALUES_PER_PARAMETER
from stethoscope.observe.training.sites import site_of
from stethoscope.observe.training.symmetry import looks_fresh

if TYPE_CHECKING:
    from stethoscope.observe.training.state import State


def history_of(
    state: State, *, finished: bool = True, ended_by: str = "", with_curves: bool = True, thorough: bool = True
) -> History:
    """Everything that a session has heard so far.

    Without curves, their points and the telemetry are left out: the store has them already. Without being thorough,
    what takes long to work out is left for the end.
    """
    parameters = _parameters(state)
    if with_curves:
        curves = tuple(curve.fact() for curve in list(state.curves.values()))
    else:
        curves = tuple(Curve(c.name, c.kind, c.phase, site=site_of(c.place)) for c in list(state.curves.values()))
    if with_curves and not state.steps:
        curves = tuple(replace(c, steps=np.arange(c.values.size)) if c.kind == "loss" else c for c in curves)
    history = History(
        steps=state.steps,
        finished=finished,
        ended_by=ended_by,
        parts=state.parts,
        models=state.book.model_facts(),
        layers=tuple(layer.fact() for layer in state.book.layers),
        parameters=parameters,
        strays=state.strays.facts(),
        optimizers=_optimizers(state, parameters),
        overlaps=state.overlaps.facts(),
        loop=_loop(state),
        losses=state.losses.facts(),
        curves=curves,
        validation=state.passes.facts(),
        streams=state.streams.facts(),
        worker_draws=state.worker_draws,
        kept=state.kept.facts(),
        attention=state.attention.facts(),
        dropped=tuple(dict.fromkeys(state.dropped)),
        softmaxes=tuple(dict.fromkeys(state.softmaxes)),
        inputs=(
            *(entry.fact(state.book.models[entry.model].first_layer) for entry in state.batches.inputs.values()),
            *(replace(entry.fact(""), beside=True) for entry in state.batches.beside.values()),
        ),
        held_out_inputs=state.samples.held_out_inputs(),
        batches=state.batches.facts(),
        samples=state.samples.facts(len(state.book.models), judged=with_curves and thorough),
        held_out=state.samples.held_out(judged=with_curves and thorough),
        comparisons=state.metrics.facts(),
        measures=state.measures(),
        tokens=state.tokens.facts(),
        units=state.looker.unit_facts(max(0, state.steps - 1)),
        norms=state.looker.norms.facts(),
        octaves=state.looker.octaves.fact(),
        birth=state.birth,
        sampling=_sampling(state),
        process_group=state.process_group,
        times=state.clock.facts(),
        framework=state.framework,
        trainer=state.trainer or "",
        fits=tuple(state.fits),
    )
    return replace(history, telemetry=state.looks.fact()) if with_curves else history


def _parameters(state: State) -> tuple[Parameter, ...]:
    held: dict[int, int] = {}
    for optimizer in state.optimizers:
        for tensor in optimizer.tensors():
            held.setdefault(id(tensor), optimizer.index)
    any_graph = bool(state.graphs_read)
    facts = []
    for entry in state.book.parameters:
        tensor = entry.tensor()
        if tensor is not None:
            entry.optimizer = held.get(id(tensor), entry.optimizer)
            entry.trainable = tensor.requires_grad
            if entry.as_drawn:
                idle = not entry.trainable or entry.optimizer < 0
                entry.as_drawn = idle and looks_fresh(state.book.layers[entry.layer].module(), tensor)
            if tensor.grad is not None:
                entry.received_gradient = True
        if any_graph and entry.in_graph is None:
            entry.in_graph = False
        facts.append(entry.fact())
    return tuple(facts)


def _optimizers(state: State, parameters: tuple[Parameter, ...]) -> tuple[Optimizer, ...]:
    facts = []
    for entry in state.optimizers:
        never = sum(
            1
            for p in parameters
            if p.optimizer == entry.index and p.trainable and p.in_graph is False and not p.received_gradient
        )
        facts.append(entry.fact(never))
    return tuple(facts)


def _loop(state: State) -> Loop:
    place, kind, limit = state.clip or (None, "", float("nan"))
    schedules = state.schedules.facts()
    sites = tuple(site for site in (site_of(place) for place in state.backward_sites) if site is not None)
    return Loop(
        cycle=state.cycles.typical(),
        cycles_watched=state.cycles.watched,
        backward_calls=state.backward_calls,
        backward_sites=sites,
        backwards=state.reach.facts(),
        clip_site=site_of(place),
        clip_kind=kind,
        clip_limit=limit,
        scheduler_kinds=tuple(dict.fromkeys(each.kind for each in schedules)),
        scheduler_site=schedules[0].site if schedules else None,
        schedules=schedules,
    )


def _sampling(state: State) -> Sampling:
    budget = state.budget
    blind = tuple(state.blind.values()) + tuple(state.notices)
    if state.book.too_many:
        blind += ("only the first 1,000 layers and 2,000 parameters are listened to",)
    return Sampling(
        values_per_layer=VALUES_PER_LAYER,
        values_per_parameter=VALUES_PER_PARAMETER,
        budget=budget.share,
        every=budget.every,
        looks=budget.looks,
        burst_looks=budget.burst_looks,
        steps=state.steps,
        look_seconds=budget.look_seconds,
        step_seconds=budget.step_seconds,
        guard_seconds=budget.guard_seconds,
        estimated_cost=budget.estimated_cost,
        opening_seconds=budget.opening_seconds,
        blind=blind,
    )
