"""What must be known of a cell besides its numbers: what its rank rests on, and what speaks against its costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ranking import commonest
from .wording import p_value, scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..harness.cards import Metric
    from ..harness.results import FlopCount, Timing
    from ..harness.stats import Lead
    from .ranking import Section, Standing


class Remarks:
    """The remarks on the cells of a section."""

    def __init__(self, section: Section) -> None:
        self._section = section
        self._baselines = [s for s in section.standings if s.baseline and s.comparable]
        results = [s.row.result for s in section.standings]
        timings = [s.row.timing for s in section.standings if s.row.timing]
        self._convention = commonest(result.flops.convention() for result in results if result.flops)
        self._place = commonest((timing.machine, timing.device) for timing in timings)
        self._way = commonest(timing.way for timing in timings)
        self._session = commonest(timing.session for timing in timings)

    def warnings(self, standing: Standing) -> list[str]:
        """What speaks against a cell's rank, scores or costs."""
        result, row = standing.row.result, standing.row
        said = [standing.reason, *result.notes]
        if result.unscored:
            said.append(f"{result.unscored:,} of {result.samples:,} {self._section.noun} could not be scored")
        if standing.tier:
            said += self._of_baselines(standing)
        said += self._of_flops(result.flops) if result.flops else ()
        said += self._of_time(row.timing) if row.timing else ()
        if row.also_in:
            said.append(f"also in run {', '.join(row.also_in)}")
        return [text for text in said if text]

    def evidence(self, standing: Standing) -> list[str]:
        """The tests that a rank rests on: against the next model below that is told apart, and the next one above."""
        if standing.tier is None:
            return []
        leads = (("better than", standing.tier.below), ("worse than", standing.tier.above))
        return [f"{how} {lead.other}: {self._difference(lead)}" for how, lead in leads if lead]

    def _of_baselines(self, standing: Standing) -> Iterator[str]:
        """Name a baseline that a model does not clear: of several the one with the worst score."""
        above = [s.name for s in self._baselines if not _clears(standing, s, self._section.metric)]
        if len(above) == 1:
            yield f"not clearly better than {above[0]}"
        elif above:
            yield f"not clearly better than {len(above)} of {len(self._baselines)} baselines, the weakest {above[-1]}"

    def _difference(self, lead: Lead) -> str:
        metric = self._section.metric
        unit = f" {metric.unit}".rstrip()
        return f"{scale(metric) * lead.difference:+.3g}{unit}, p {p_value(lead.p)}"

    def _of_flops(self, count: FlopCount) -> Iterator[str]:
        if count.convention() != self._convention:
            yield f"FLOPs under another convention: {', '.join(count.convention())}"
        if count.waived:
            yield f"FLOPs without {', '.join(count.waived)}"

    def _of_time(self, timing: Timing) -> Iterator[str]:
        if (timing.machine, timing.device) != self._place:
            yield f"timed elsewhere: {timing.machine}, {timing.device}"
        elif timing.way != self._way:
            yield f"timed otherwise: {timing.way}"
        elif timing.session != self._session:
            yield "timed in another session"
        yield timing.note


def _clears(standing: Standing, baseline: Standing, metric: Metric) -> bool:
    """Whether the near end of a model's interval is beyond a baseline's score."""
    own, mark = standing.headline, baseline.headline
    if own is None or mark is None:
        return True
    if metric.better == "higher":
        return (own.value if own.low is None else own.low) > mark.value
    return (own.value if own.high is None else own.high) < mark.value
