"""A diagnosis for machines: the JSON form that `schema.json` beside this file promises."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from stethoscope import __version__
from stethoscope.core.finding import CannotTell, Diagnosis, Finding, Place, Proof, Severity
from stethoscope.core.text import sendable
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History, Sampling

SCHEMA = 1


def to_json(diagnosis: Diagnosis, record: RunRecord, history: History) -> dict[str, Any]:
    """The diagnosis as plain JSON values; numbers that JSON lacks are "NaN", "Infinity", "-Infinity"."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "stethoscope", "version": tool_version()},
        "run": _run(record, history),
        "summary": _summary(diagnosis),
        "findings": [finding_json(finding) for finding in diagnosis.findings],
        "experiments": [strict(asdict(one)) for one in history.preflight.experiments],
    }


def json_text(document: dict[str, Any]) -> str:
    """The document as strict JSON text (no bare NaN), indented, with a line end."""
    return sendable(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of `to_json`."""
    from importlib import resources  # with what it needs, the slowest import of all for the fewest who ask for it

    text = resources.files("stethoscope.render").joinpath("schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def tool_version() -> str:
    """The version of this tool."""
    return __version__


def strict(value: Any) -> Any:
    """The value with numbers that JSON lacks as strings, numpy numbers as plain ones, and all else as text.

    `Any` because it takes and gives any JSON value.
    """
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item"):
        return strict(value.item())
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value)


def _run(record: RunRecord, history: History) -> dict[str, Any]:
    values = {
        "id": record.id,
        "script": record.script,
        "command": record.command,
        "directory": record.directory,
        "started": record.started,
        "ended": record.ended,
        "state": record.state,
        "exit_code": record.exit_code,
        "ended_by": history.ended_by,
        "steps": max(history.steps, record.steps),
        "world_size": record.world_size,
        "results": record.results,
        "sampling": _sampling(history.sampling),
    }
    return {name: strict(value) for name, value in values.items()}


def _sampling(sampling: Sampling) -> dict[str, Any]:
    return {
        "looks": sampling.looks,
        "every": sampling.every,
        "budget": sampling.budget,
        "values_per_layer": sampling.values_per_layer,
        "values_per_parameter": sampling.values_per_parameter,
        "estimated_cost": sampling.estimated_cost,
        "blind": list(sampling.blind),
    }


def _summary(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "errors": diagnosis.count(Severity.ERROR),
        "warnings": diagnosis.count(Severity.WARNING),
        "notes": diagnosis.count(Severity.NOTE),
        "silenced": len(diagnosis.silenced),
        "checked": list(diagnosis.checked),
        "not_checked": [_cannot(cannot) for cannot in diagnosis.not_checked],
        "broken": [_cannot(cannot) for cannot in diagnosis.broken],
        "withdrawn": [finding_json(finding) for finding in diagnosis.withdrawn],
        "notices": list(diagnosis.notices),
        "announced": [asdict(one) for one in diagnosis.announced],
    }


def _cannot(cannot: CannotTell) -> dict[str, str]:
    return {"rule": cannot.rule, "why": cannot.why}


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as plain JSON values."""
    return {
        "rule": finding.rule,
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "sureness": finding.sureness.value,
        "rank": finding.rank,
        "title": finding.title,
        "cause": finding.cause,
        "place": _place(finding.place),
        "evidence": [
            {
                "what": evidence.what,
                "seen": strict(evidence.seen),
                "healthy": strict(evidence.healthy),
                "source": evidence.source,
            }
            for evidence in finding.evidence
        ],
        "fixes": [
            {
                "text": fix.text,
                "edit": fix.edit,
                "safe": fix.safe,
                "edits": [{"place": _place(edit.place), "text": edit.text} for edit in fix.edits],
            }
            for fix in finding.fixes
        ],
        "unless": finding.unless,
        "explains": list(finding.explains),
        "follows": [finding_json(consequence) for consequence in finding.follows],
        "ruled_out": list(finding.ruled_out),
        "not_ruled_out": list(finding.not_ruled_out),
        "proof": proof_json(finding.proof),
        "chain": [{"place": _place(link.place), "words": link.words} for link in finding.chain],
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "file": place.file,
        "line": place.line or None,
        "text": place.text,
        "module": place.module,
        "parameter": place.parameter,
        "steps": strict(place.steps),
        "rows": strict(place.rows),
        "columns": strict(place.columns),
        "window": strict(place.window),
        "column": place.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
        "cell": place.cell,
    }


def proof_json(proof: Proof | None) -> dict[str, Any] | None:
    """A proof as plain JSON values."""
    if proof is None:
        return None
    return {
        "treatment": proof.treatment,
        "before": strict(proof.before),
        "after": strict(proof.after),
        "verdict": proof.verdict,
        "measure": proof.measure,
        "start": strict(proof.start),
        "steps": proof.steps,
        "replays": proof.replays,
        "agreeing": proof.agreeing,
        "why": proof.why,
    }
