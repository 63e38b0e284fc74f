"""The champion gate: how the rules of gate_rules.py add up to a decision; it measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ml.data.policy import GateSpec
from ml.evaluation import gate_rules, guard_rules, performance_rules
from ml.evaluation.evaluated_day import EvaluatedDay, Task, TaskComparison
from ml.evaluation.gate_rules import GateFacts, GateRule, Verdict
from ml.evaluation.slices import SliceMetrics

__all__ = ["GateDecision", "GateFacts", "GateRule", "Outcome", "judge"]

Outcome = Literal["promoted", "rejected", "insufficient_evidence", "unchanged"]

_TELLING: dict[Outcome, Verdict] = {"promoted": "pass", "rejected": "fail", "insufficient_evidence": "insufficient"}
_STANDS = "This model is the champion, so nothing is decided: it stays the champion until another takes its place."


class GateDecision(BaseModel):
    """`reasons`: the sentences of the rules that kept the model from promotion, or of those that carried it.

    unchanged: the judged model is the champion already; the rules it does not pass are reasons to look, and to roll
    back by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    decision: Outcome
    first_model: bool
    rules: tuple[GateRule, ...]
    reasons: tuple[str, ...]


def judge(
    *,
    challenger: EvaluatedDay,
    champion: EvaluatedDay | None,
    comparison: dict[Task, TaskComparison] | None,
    gate: GateSpec,
    facts: GateFacts,
    slices: Sequence[SliceMetrics] = (),
) -> GateDecision:
    """Hold the challenger to every rule; without a champion, to the absolute rules of a first model.

    A model that is the champion is held to the absolute rules too, for whoever reads them, and keeps its place.

    Integrity rules (inputs, judged day unseen, bundle, usable predictions) can fail a model on any day. Evidence rules
    (mature, admitted, enough clicks and conversions) are never failed, only insufficient; while one is, no number of
    the day is held against the model: a failed performance rule becomes insufficient. Then any fail means rejected,
    else any insufficient means insufficient_evidence, else the model is promoted.
    Raises ValueError where champion and comparison are not both given or both absent, and where the champion is
    compared with itself.
    """
    if (champion is None) != (comparison is None):
        raise ValueError("champion and comparison belong together: give both, or neither for a first model")
    if facts.is_champion and champion is not None:
        raise ValueError("the judged model is the champion: a comparison with itself says nothing, give none")
    evidence = gate_rules.evidence_rules(challenger=challenger, gate=gate, facts=facts)
    if champion is None or comparison is None:
        performance = [
            performance_rules.beats_chance(challenger=challenger, gate=gate),
            performance_rules.beats_base_rate(challenger=challenger),
        ]
    else:
        evidence.append(gate_rules.champion_unseen(challenger=challenger, champion=champion))
        primary = comparison["ctcvr"]
        performance = [
            performance_rules.beats_champion(comparison=primary, gate=gate),
            performance_rules.log_loss_within_tolerance(champion=champion, comparison=primary, gate=gate),
            guard_rules.gauc_not_lost(comparison=primary, gate=gate),
        ]
        for task in ("ctr", "cvr"):
            shared = {"task": task, "challenger": challenger, "comparison": comparison[task], "gate": gate}
            performance.append(guard_rules.auc_not_lost(**shared))
            performance.append(guard_rules.log_loss_not_lost(**shared, champion=champion))
    performance += [
        guard_rules.no_slice_collapses(slices=slices, gate=gate),
        performance_rules.calibrated(challenger=challenger, gate=gate),
        guard_rules.calibrated_by_bin(challenger=challenger, gate=gate),
        performance_rules.not_too_good(challenger=challenger, gate=gate),
    ]
    if any(rule.verdict == "insufficient" for rule in evidence):
        performance = [_withheld(rule) for rule in performance]
    rules = (*evidence, *gate_rules.integrity_rules(challenger=challenger, facts=facts), *performance)
    if facts.is_champion:
        amiss = tuple(rule.why for rule in rules if rule.verdict != "pass")
        return GateDecision(decision="unchanged", first_model=False, rules=rules, reasons=(_STANDS, *amiss))
    decision = _decide(rules)
    telling = performance if decision == "promoted" else rules
    return GateDecision(
        decision=decision,
        first_model=champion is None,
        rules=rules,
        reasons=tuple(rule.why for rule in telling if rule.verdict == _TELLING[decision]),
    )


def _decide(rules: tuple[GateRule, ...]) -> Outcome:
    verdicts = {rule.verdict for rule in rules}
    if "fail" in verdicts:
        return "rejected"
    return "insufficient_evidence" if "insufficient" in verdicts else "promoted"


def _withheld(rule: GateRule) -> GateRule:
    if rule.verdict != "fail":
        return rule
    why = f"{rule.why} This is not held against the model, because the day's evidence is insufficient."
    return rule.model_copy(update={"verdict": "insufficient", "why": why})
