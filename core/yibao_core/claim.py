"""The waterfall: one claim through every layer. Whoever understands this file understands the product.

`settle_claim` computes a row; `carry_claim` takes a row's payments as they stand (a bill that is
cancelled, a row outside the re-accounting window) and only moves the balances.
"""

from yibao_core._jit import Words, helper, place
from yibao_core.accumulators import feed
from yibao_core.errors import RowStatus
from yibao_core.layers import (
    TRACE_BASE_AFTER_FEN,
    TRACE_BASE_BEFORE_FEN,
    TRACE_BASE_FEN,
    TRACE_CAP_LEFT_FEN,
    TRACE_COMPONENT_FEN,
    TRACE_LAYER,
    TRACE_LEFT_FEN,
    TRACE_LIMIT_LEFT_FEN,
    TRACE_MODE,
    TRACE_PAID_FEN,
    TRACE_RECORDED_FEN,
    TRACE_RULE,
    TRACE_RULE_AT,
    base_fen,
    cap_left_fen,
    component_fen,
    limit_left_fen,
    pay_layer,
)
from yibao_core.money import YEAR_MAX_FEN, scale_fen
from yibao_core.plan import (
    CELL_END_STEP,
    CELL_FIRST_STEP,
    CELL_NEED,
    CELL_WIDTH,
    COMPUTED,
    EXTENDED,
    EXTENSION_METER,
    HEAD_WIDTH,
    POLICY_CELLS,
    POLICY_HALF_FEN_BP,
    POLICY_WIDTH,
    RECORDED,
    RULE_ACCOUNT,
    RULE_BASE_MASK,
    RULE_EXTENSION,
    RULE_LESS_ALL,
    RULE_LESS_MASK,
    RULE_ORDINAL,
    STEP_AGE_FROM,
    STEP_AGE_TO,
    STEP_CHARGED_TOTAL,
    STEP_FEEDS,
    STEP_LAYER,
    STEP_MODE,
    STEP_RULE,
    STEP_WIDTH,
)
from yibao_core.policy import CARE_TYPES, CATEGORIES, LAYERS
from yibao_core.records import (
    FIELD_LAYER,
    FIELD_STAY,
    FIELD_TOTAL,
    HEAD,
    NO_STAY,
    SHIFT_AGE,
    SHIFT_CARE,
    SHIFT_CATEGORY,
    SHIFT_PLACE,
    SHIFT_POLICY,
    SHIFT_SUPPLEMENT,
)
from yibao_core.stays import pay_extended

# Options of a run.
(
    OPTION_REACCOUNT,
    OPTION_HISTORY_ROWS,  # so many rows at the front only serve to find originals
    OPTION_TRACE_ROW,  # the row to trace, -1: none
    OPTION_AFTER_CHANGE,  # for each layer: what to do with a recorded figure behind a changed payment
    OPTIONS,
) = (0, 1, 2, 3, 3 + len(LAYERS))
REFUSE, KEEP, IMPLIED_RATE = range(3)

# Counters of a run: for each layer, rows and amount that would have to be refused; stale rows; then
# the rows that reach each need of the book.
COUNT_REFUSED_ROWS = 0
COUNT_REFUSED_FEN = len(LAYERS)
COUNT_STALE_ROWS = 2 * len(LAYERS)
COUNT_NEEDS = COUNT_STALE_ROWS + 1

# Scratch: for each layer of the row, what was paid before and now, its base and its step; then what is
# left to the person, before and now, whether any payment changed; the row's stay (NO_STAY: none to count) and its
# rule; and in: where the balances of its episode are (-1: it has none).
SCRATCH_OLD = 0
SCRATCH_PAID = len(LAYERS)
SCRATCH_BASE = 2 * len(LAYERS)
SCRATCH_STEP = 3 * len(LAYERS)
(
    SCRATCH_OLD_LEFT,
    SCRATCH_LEFT,
    SCRATCH_DIFFERS,
    SCRATCH_STAY,
    SCRATCH_STAY_RULE,
    SCRATCH_EPISODE,
    SCRATCH,
) = range(4 * len(LAYERS), 4 * len(LAYERS) + 7)

LAYERS_COUNT = len(LAYERS)
CARE_COUNT, CATEGORIES_COUNT = len(CARE_TYPES), len(CATEGORIES)
COMMERCIAL = LAYERS.index("commercial")
ASSISTANCE = LAYERS.index("assistance")
SETTLED = int(RowStatus.SETTLED)
AMOUNT_OUT_OF_RANGE = int(RowStatus.AMOUNT_OUT_OF_RANGE)


@helper
def policy_of(head: int) -> int:
    """Return the offset of the row's policy in the plan."""
    return HEAD_WIDTH + (head >> SHIFT_POLICY & 63) * POLICY_WIDTH


@helper
def cell_of(book: Words, head: int) -> int:
    """Return the offset of the row's cell: its policy's rules for its place, category and care type."""
    cell = (head >> SHIFT_PLACE & 7) * CATEGORIES_COUNT + (head >> SHIFT_CATEGORY & 15)
    cell = cell * CARE_COUNT + (head >> SHIFT_CARE & 15)
    return place(book[policy_of(head) + POLICY_CELLS]) + cell * CELL_WIDTH


@helper
def charged_before(
    book: Words,
    rule: int,
    first_step: int,
    step: int,
    age: int,
    scratch: Words,
    paid_at: int,
) -> tuple[int, int]:
    """Return what the layers before `step` paid that the rule's base loses: charged to eligible, charged to total."""
    eligible = 0
    total = 0
    for earlier in range(first_step, step, STEP_WIDTH):
        if book[earlier + STEP_AGE_FROM] <= age <= book[earlier + STEP_AGE_TO]:
            layer = place(book[earlier + STEP_LAYER])
            if book[rule + RULE_LESS_MASK] >> layer & 1:
                if book[earlier + STEP_CHARGED_TOTAL]:
                    total += scratch[paid_at + layer]
                else:
                    eligible += scratch[paid_at + layer]
    return eligible, total


@helper
def settle_claim(
    book: Words,
    fields: Words,
    options: Words,
    work: Words,
    record: int,
    balances: Words,
    at: int,
    scratch: Words,
    counters: Words,
    trace: Words,
) -> int:
    """Settle one row: write its payments over the recorded ones, move the balances at `at`; return its status.

    Contract: total fee = payments + what is left to the person, each between 0 and what is left.
    AMOUNT_OUT_OF_RANGE where a cumulative base would pass 9e11 fen; then nothing has moved.
    `trace`: one equal part a layer, filled in the policy's order; empty: nothing is written down.
    """
    record, at = place(record), place(at)
    head = work[record + HEAD]
    cell = cell_of(book, head)
    half_fen_bp = book[policy_of(head) + POLICY_HALF_FEN_BP]
    age = head >> SHIFT_AGE & 127
    total = work[record + place(fields[FIELD_TOTAL])]
    reaccount = options[OPTION_REACCOUNT] != 0
    if book[cell + CELL_NEED]:
        counters[COUNT_NEEDS + book[cell + CELL_NEED] - 1] += 1
    left = total
    scratch[SCRATCH_STAY] = NO_STAY
    eligible_paid, total_paid = 0, 0  # by earlier layers, as charged
    eligible_old, total_old = 0, 0
    changed = False
    differs = False
    traced = trace.size > 0
    out = 0
    first_step = place(book[cell + CELL_FIRST_STEP])
    for step_at in range(first_step, book[cell + CELL_END_STEP], STEP_WIDTH):
        step = place(step_at)
        if age < book[step + STEP_AGE_FROM] or age > book[step + STEP_AGE_TO]:
            continue
        layer = place(book[step + STEP_LAYER])
        mode = book[step + STEP_MODE]
        rule = place(book[step + STEP_RULE])
        word = record + place(fields[FIELD_LAYER + layer])
        old = work[word]
        component = component_fen(fields, work, record, book[rule + RULE_BASE_MASK])
        charged_eligible, charged_total = eligible_paid, total_paid
        if not book[rule + RULE_LESS_ALL]:
            charged_eligible, charged_total = charged_before(book, rule, first_step, step, age, scratch, SCRATCH_PAID)
        base = base_fen(component, total, charged_eligible, charged_total)
        before = balances[at + 2 * place(book[rule + RULE_ACCOUNT])]
        feeds = book[step + STEP_FEEDS] != 0
        if feeds and before + base > YEAR_MAX_FEN:
            take_back(book, first_step, step, age, 1, scratch, balances, at)
            return AMOUNT_OUT_OF_RANGE
        if traced:
            trace[out + TRACE_LAYER] = layer
            trace[out + TRACE_MODE] = mode
            trace[out + TRACE_RULE] = book[rule + RULE_ORDINAL]
            trace[out + TRACE_RULE_AT] = rule
            trace[out + TRACE_COMPONENT_FEN] = component
            trace[out + TRACE_BASE_FEN] = base
            trace[out + TRACE_BASE_BEFORE_FEN] = before
            trace[out + TRACE_BASE_AFTER_FEN] = before + base if feeds else before
            trace[out + TRACE_CAP_LEFT_FEN] = cap_left_fen(book, rule, balances, at)
            trace[out + TRACE_LIMIT_LEFT_FEN] = limit_left_fen(book, rule, balances, at)
            trace[out + TRACE_LEFT_FEN] = left
            trace[out + TRACE_RECORDED_FEN] = old

        paid = 0
        if mode == COMPUTED:
            paid = pay_layer(book, rule, half_fen_bp, balances, at, before, base, left)
        elif mode == RECORDED:
            figure = old
            if reaccount and changed and old != 0 and not (layer == COMMERCIAL and head >> SHIFT_SUPPLEMENT & 1):
                choice = options[OPTION_AFTER_CHANGE + layer]
                if choice == REFUSE:
                    counters[COUNT_REFUSED_ROWS + layer] += 1
                    counters[COUNT_REFUSED_FEN + layer] += old
                elif choice == IMPLIED_RATE:
                    charged_eligible, charged_total = eligible_old, total_old
                    if not book[rule + RULE_LESS_ALL]:
                        charged_eligible, charged_total = charged_before(
                            book, rule, first_step, step, age, scratch, SCRATCH_OLD
                        )
                    old_base = base_fen(component, total, charged_eligible, charged_total)
                    if old_base > 0:
                        figure = scale_fen(old, base, old_base)
            paid = min(figure, left)
        elif mode == EXTENDED:
            paid, stay = pay_extended(
                book, rule, half_fen_bp, balances, at, scratch[SCRATCH_EPISODE], before, base, component, total,
                eligible_paid, total_paid, left, trace, out,
            )  # fmt: skip
            if stay != NO_STAY:
                scratch[SCRATCH_STAY], scratch[SCRATCH_STAY_RULE] = stay, rule
                work[record + place(fields[FIELD_STAY])] = stay
        if paid != old:
            differs = True
            changed |= mode != RECORDED

        if feeds:
            feed(balances, at, book, rule, base, paid)
        if book[step + STEP_CHARGED_TOTAL]:
            total_paid += paid
            total_old += old
        else:
            eligible_paid += paid
            eligible_old += old
        left -= paid
        work[word] = paid
        scratch[SCRATCH_OLD + layer] = old
        scratch[SCRATCH_PAID + layer] = paid
        scratch[SCRATCH_BASE + layer] = base
        scratch[SCRATCH_STEP + layer] = step
        if traced:
            trace[out + TRACE_PAID_FEN] = paid
            out += trace.size // LAYERS_COUNT
    scratch[SCRATCH_OLD_LEFT] = total - eligible_old - total_old
    scratch[SCRATCH_LEFT] = left
    scratch[SCRATCH_DIFFERS] = 1 if differs else 0
    return SETTLED


@helper
def take_back(
    book: Words, first_step: int, end_step: int, age: int, sign: int, scratch: Words, balances: Words, at: int
) -> None:
    """Undo what the row's steps before `end_step` have fed, `sign` times: the row turned out not to be settled."""
    for step in range(first_step, end_step, STEP_WIDTH):
        if book[step + STEP_FEEDS] and book[step + STEP_AGE_FROM] <= age <= book[step + STEP_AGE_TO]:
            layer = place(book[step + STEP_LAYER])
            rule = place(book[step + STEP_RULE])
            feed(balances, at, book, rule, -sign * scratch[SCRATCH_BASE + layer], -sign * scratch[SCRATCH_PAID + layer])


@helper
def carry_claim(
    book: Words,
    fields: Words,
    work: Words,
    record: int,
    balances: Words,
    at: int,
    sign: int,
    scratch: Words,
) -> int:
    """Move the balances at `at` by a row whose payments stand as they are, `sign` times; return its status.

    The record holds a bill (amounts >= 0). AMOUNT_OUT_OF_RANGE as in `settle_claim`.
    """
    record, at = place(record), place(at)
    head = work[record + HEAD]
    cell = cell_of(book, head)
    age = head >> SHIFT_AGE & 127
    total = work[record + place(fields[FIELD_TOTAL])]
    scratch[SCRATCH_STAY] = NO_STAY
    eligible_paid, total_paid = 0, 0
    first_step = place(book[cell + CELL_FIRST_STEP])
    for step_at in range(first_step, book[cell + CELL_END_STEP], STEP_WIDTH):
        step = place(step_at)
        if age < book[step + STEP_AGE_FROM] or age > book[step + STEP_AGE_TO]:
            continue
        layer = place(book[step + STEP_LAYER])
        rule = place(book[step + STEP_RULE])
        paid = work[record + place(fields[FIELD_LAYER + layer])]
        charged_eligible, charged_total = eligible_paid, total_paid
        if not book[rule + RULE_LESS_ALL]:
            charged_eligible, charged_total = charged_before(book, rule, first_step, step, age, scratch, SCRATCH_PAID)
        component = component_fen(fields, work, record, book[rule + RULE_BASE_MASK])
        base = base_fen(component, total, charged_eligible, charged_total)
        if book[step + STEP_FEEDS]:
            if balances[at + 2 * place(book[rule + RULE_ACCOUNT])] + sign * base > YEAR_MAX_FEN:
                take_back(book, first_step, step, age, sign, scratch, balances, at)
                return AMOUNT_OUT_OF_RANGE
            feed(balances, at, book, rule, sign * base, sign * paid)
            if book[step + STEP_MODE] == EXTENDED and book[book[rule + RULE_EXTENSION] + EXTENSION_METER] >= 0:
                scratch[SCRATCH_STAY], scratch[SCRATCH_STAY_RULE] = work[record + place(fields[FIELD_STAY])], rule
        if book[step + STEP_CHARGED_TOTAL]:
            total_paid += paid
        else:
            eligible_paid += paid
        scratch[SCRATCH_PAID + layer] = paid
        scratch[SCRATCH_BASE + layer] = base
    scratch[SCRATCH_LEFT] = total - eligible_paid - total_paid
    return SETTLED


@helper
def return_to_funds(
    book: Words, fields: Words, work: Words, record: int, balances: Words, at: int, scratch: Words
) -> int:
    """Set a replayed row's personal share back to the old one, at the expense of commercial, then assistance.

    威医保发〔2019〕37号 三(一): who has the commercial supplement and is 建档立卡 gets nothing himself; the
    difference returns to the two funds. What neither can take is returned: it stays unrouted (payments and
    personal share exceed the total by it). Bases stay as replayed; paid balances follow.
    """
    lowered = scratch[SCRATCH_OLD_LEFT] - scratch[SCRATCH_LEFT]
    for layer in (COMMERCIAL, ASSISTANCE):
        word = record + place(fields[FIELD_LAYER + layer])
        taken = min(lowered, work[word])  # below zero where the replay had raised the share
        work[word] -= taken
        lowered -= taken
        step = scratch[SCRATCH_STEP + layer]
        if book[step + STEP_FEEDS]:
            feed(balances, at, book, book[step + STEP_RULE], 0, -taken)
    scratch[SCRATCH_LEFT] = scratch[SCRATCH_OLD_LEFT]
    return lowered
