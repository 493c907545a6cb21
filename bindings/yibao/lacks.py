"""What a run lacks as a whole: parameters, columns, a word about recorded payments. Added up where it runs in parts."""

from threading import Lock

import numpy as np

from yibao.columns import Prepared
from yibao.money import yuan
from yibao.stays import PLACED_BY
from yibao_core.claim import COUNT_NEEDS, COUNT_REFUSED_FEN, COUNT_REFUSED_ROWS
from yibao_core.errors import LedgerError, ParameterError, RecordedAfterChangeError, RowStatus
from yibao_core.plan import CompiledBook
from yibao_core.policy import CATEGORIES, LAYERS, Rule
from yibao_core.records import UNPLACED_SHIFT
from yibao_core.settled import Settled


class Lacks:
    """Counts of the rows that refuse a whole run, of as many runs of one plan as are noted."""

    def __init__(self) -> None:
        self._plan: CompiledBook | None = None
        self._counters = np.zeros(0, dtype=np.int64)
        self._births = 0
        self._unplaced = dict.fromkeys(PLACED_BY, 0)
        self._noting = Lock()

    def note(self, plan: CompiledBook, prepared: Prepared, settled: Settled) -> None:
        """Add what the rows of a run lack; runs may end at once."""
        births = 0 if "birth_date" in prepared.present else int((settled.status == RowStatus.BIRTH_DATE_MISSING).sum())
        missing = settled.status == RowStatus.MISSING_VALUE
        unplaced = {
            name: int((missing & (settled.flags >> UNPLACED_SHIFT & need != 0)).sum())
            for name, need in PLACED_BY.items()
            if name not in prepared.present and missing.any()
        }
        with self._noting:
            self._plan = plan
            self._counters = settled.counters + (self._counters if len(self._counters) else 0)
            self._births += births
            for name, rows in unplaced.items():
                self._unplaced[name] += rows

    def refuse(self) -> None:
        """Raise ParameterError, LedgerError or RecordedAfterChangeError where a noted run may not stand."""
        if self._plan is None:
            return
        self._refuse_parameters(self._plan)
        if self._births:
            raise LedgerError(
                f"ledger: birth_date: expected a column: {self._births} rows reach a rule that goes by age"
            )
        faults = [
            f"ledger: {name}: expected a column: {rows} rows reach a rule that goes by it"
            for name, rows in self._unplaced.items()
            if rows
        ]
        if faults:
            raise LedgerError(faults)
        self._refuse_recorded()

    def _refuse_parameters(self, plan: CompiledBook) -> None:
        """Raise ParameterError with every required parameter that rows of the run needed and nobody gave."""
        found: dict[tuple[str, str], tuple[Rule, set[str], int]] = {}
        for index, need in enumerate(plan.needs):
            rows = int(self._counters[COUNT_NEEDS + index])
            for rule, name in need.lacking if rows else ():
                first, categories, before = found.get((need.policy_id, name), (rule, set[str](), 0))
                found[need.policy_id, name] = (first, categories | {need.category}, before + rows)
        faults = []
        for (policy_id, name), (rule, categories, rows) in found.items():
            policy = next(policy for policy in plan.policies if policy.id == policy_id)
            parameter = next(p for p in policy.parameters if p.name == name)
            whom = (
                f" for {', '.join(each for each in CATEGORIES if each in categories)}" if parameter.per_category else ""
            )
            faults.append(
                f"{policy_id}: parameters.{name} ({parameter.meaning}): expected a value in {parameter.unit}{whom}, got none; "
                f"{rows} row{'s reach' if rows > 1 else ' reaches'} rule {rule.id} ({policy.document} {parameter.source})"
            )
        if faults:
            raise ParameterError(faults)

    def _refuse_recorded(self) -> None:
        """Raise where recorded money stands behind a changed payment and nobody said what to do."""
        faults = []
        for index, layer in enumerate(LAYERS):
            rows = int(self._counters[COUNT_REFUSED_ROWS + index])
            if rows:
                amount = yuan(self._counters[COUNT_REFUSED_FEN + index])
                faults.append(f"{layer}: {rows} rows with {amount} yuan recorded")
        if faults:
            raise RecordedAfterChangeError(
                "recorded payments stand behind payments that change: "
                + "; ".join(faults)
                + ". Give the policy parameters for these layers, or say recorded_after_change "
                '"implied_rate" (in proportion to the new base) or "keep", as one word or by layer'
            )
