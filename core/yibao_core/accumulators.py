"""A person's year in one city: what the balances are and how a row moves them.

A group is (person, benefit year, city). It holds two balances for each account of the book: the
cumulative base, from which schedules start, and what was paid, against which caps are held. Of the account that
counts stays they are the deductible borne and the number of stays. A person's episode of referrals is a group, too.
"""

from yibao_core._jit import Words, helper, place
from yibao_core.plan import RULE_ACCOUNT, RULE_LIMIT_ACCOUNT

(
    GROUP_KEY,  # benefit year x 10,000 + city; of an episode -1 - its number
    GROUP_PERSON,  # a number that only the groups of one person share
    GROUP_ID_ROW,  # a row that shows the person's id
    GROUP_LAST_ROW,  # the last settled row in the window, -1: none
    GROUP_HOLD,  # what speaks against paying out
    GROUP_ROWS,  # settled rows and opening balances
    GROUP_BALANCES,  # then base_fen and paid_fen of each account
) = range(7)
GROUP_BEGAN = GROUP_LAST_ROW  # of an episode: benefit year x 10,000 + city of the stay that it began with
HOLD_REJECTED, HOLD_NOT_RECONCILED = 1, 2


@helper
def feed(balances: Words, at: int, book: Words, rule: int, base_fen: int, paid_fen: int) -> None:
    """Add a base and a payment (negative: take back) to the rule's account, and the payment to its shared limit."""
    account = at + 2 * place(book[rule + RULE_ACCOUNT])
    balances[account] += base_fen
    balances[account + 1] += paid_fen
    if book[rule + RULE_LIMIT_ACCOUNT] != book[rule + RULE_ACCOUNT]:
        balances[at + 2 * place(book[rule + RULE_LIMIT_ACCOUNT]) + 1] += paid_fen


@helper
def find_group(groups: Words, first: int, end: int, width: int, key: int) -> int:
    """Return the group among a person's groups first..end that has the key, or -1."""
    for group in range(first, end):
        if groups[place(group * width) + GROUP_KEY] == key:
            return group
    return -1


@helper
def find_episode(groups: Words, first: int, end: int, width: int, key: int, city: int) -> int:
    """Return the group of an episode in a city among a person's groups first..end, or -1."""
    for group in range(first, end):
        at = place(group * width)
        if groups[at + GROUP_KEY] == key and groups[at + GROUP_BEGAN] % 10_000 == city:
            return group
    return -1
