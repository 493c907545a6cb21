"""Memory for large arrays, from Arrow's pool: it keeps what it was given back.

Memory from the system costs a fault a page and its zeroing at every run: 35 ms for 320 MB, where the pool takes 13. The
pool is the process's own (`pyarrow.default_memory_pool()`); `release_unused()` on it gives everything back.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def words(count: int) -> NDArray[np.int64]:
    """Return so many words of any content, the first at the begin of a line of the cache."""
    return np.frombuffer(pa.allocate_buffer(8 * count), dtype=np.int64)
