"""Work done ahead of where it is needed: by several threads, handed on in its order, and never more of it than they can use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_turn(threads: int, work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Yield `work` of each item, in their order. Items are taken as threads get free, one more than there are threads.

    What an item raises is raised where its turn comes; items behind it are not begun.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
