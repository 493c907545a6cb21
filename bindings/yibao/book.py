"""Which rules there are, and loading them. Needs no compiler."""

import os
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from yibao_core.errors import PolicyError
from yibao_core.policy import Policy
from yibao_core.policy_file import builtin_ids, check_book, read_policy


class PolicyInfo(NamedTuple):
    """What is built in: one policy, its region (administrative code prefix), its two time axes, its document."""

    id: str
    title: str
    region: str
    in_force_from: date
    in_force_to: date | None
    known_from: date
    source: str


def policies() -> list[PolicyInfo]:
    """Return the built-in policies."""
    return [
        PolicyInfo(
            policy.id,
            policy.title,
            policy.region,
            policy.in_force.start,
            policy.in_force.end,
            policy.known_from,
            policy.document,
        )
        for policy in map(read_policy, builtin_ids())
    ]


def load_policy(source: str | os.PathLike[str], parameters: Mapping[str, object] | None = None) -> Policy:
    """Return a built-in policy by its id, or one from a TOML file, with values for its parameters.

    Yuan as text, int or Decimal, rates as text ("70 %"); one value, or a value for each category. PolicyError and
    ParameterError list every fault.
    """
    return read_policy(source, parameters)


def as_book(policy: Policy | Sequence[Policy]) -> tuple[Policy, ...]:
    """Return one policy or several as a checked book."""
    if isinstance(policy, Policy):
        book: tuple[Policy, ...] = (policy,)
    elif isinstance(policy, Sequence) and not isinstance(policy, str):
        book = tuple(policy)
    else:
        raise PolicyError(f"policy: expected what load_policy returns, or a list of it, got {policy!r}")
    if not book:
        raise PolicyError("policy: expected at least one policy, got an empty list")
    for entry in book:
        if not isinstance(entry, Policy):
            raise PolicyError(f"policy: expected what load_policy returns, got {entry!r}")
    check_book(book)
    return book
