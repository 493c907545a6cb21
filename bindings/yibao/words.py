"""The field's words in a ledger's cells: categories, care types, yes and no.

Sources: the names of ledger columns and documents (威医保发〔2019〕37号 and its neighbours); care type numbers are those of
the national platform (med_type 11, 14, 21.., 9904).
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao_core.errors import LedgerError
from yibao_core.policy import CARE_TYPES, CATEGORIES, LEVELS

CATEGORY_WORDS = {name: name for name in CATEGORIES} | {
    "普通": "ordinary",
    "普通居民": "ordinary",
    "一般居民": "ordinary",
    "建档立卡": "registered_poor",
    "建档立卡贫困人口": "registered_poor",
    "特困": "destitute",
    "特困人员": "destitute",
    "低保": "dibao",
    "低保对象": "dibao",
    "低边": "dibao_marginal",
    "低保边缘": "dibao_marginal",
    "贫困重度残疾": "severe_disability",
    "贫困重度残疾人": "severe_disability",
    "重度残疾": "severe_disability",
    "低收入": "low_income",
    "低收入救助对象": "low_income",
    "因病致贫": "illness_poverty",
    "事实无人抚养儿童": "orphan",
    "孤儿": "orphan",
}
CARE_WORDS = {name: name for name in CARE_TYPES} | {
    "住院": "inpatient",
    "门诊": "outpatient",
    "普通门诊": "outpatient",
    "门诊慢特病": "chronic_outpatient",
    "门诊慢性病": "chronic_outpatient",
    "特药": "special_drug",
    "苯丙酮尿症": "pku",
    "11": "outpatient",
    "14": "chronic_outpatient",
    "9904": "special_drug",
}
_INPATIENT_NUMBER = re.compile(r"21[0-9]*")
_SEPARATORS = re.compile(r"[,，、;；]")
LEVEL_WORDS = {str(level): level for level in LEVELS} | {"一级": 1, "二级": 2, "三级": 3, "未定级": 9, "无等级": 9}
_TRUE = {"true", "1", "yes", "y", "t", "是", "有"}
_FALSE = {"false", "0", "no", "n", "f", "否", "无"}


def category_mask(cell: str) -> int:
    """Return the set of categories in a cell, one bit each; 0 where it is empty or a name in it is unknown."""
    mask = 0
    for word in _SEPARATORS.split(cell):
        word = word.strip()
        if not word:
            continue
        name = CATEGORY_WORDS.get(word)
        if name is None:
            return 0
        mask |= 1 << CATEGORIES.index(name)
    return mask


def category_texts(masks: NDArray[Any]) -> pa.Array:
    """Return sets of categories as a ledger writes them, null for none: names in our order with commas between them."""
    sets, index = np.unique(masks, return_inverse=True)
    names = [",".join(name for bit, name in enumerate(CATEGORIES) if int(mask) >> bit & 1) or None for mask in sets]
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(names, pa.string()))


def mask_of(categories: Iterable[str]) -> int:
    """Return a set of categories, one bit each."""
    return sum(1 << CATEGORIES.index(category) for category in categories)


def care_index(cell: str) -> int:
    """Return the index of a care type, -1 where it is unknown."""
    word = cell.strip()
    name = "inpatient" if _INPATIENT_NUMBER.fullmatch(word) else CARE_WORDS.get(word)
    return -1 if name is None else CARE_TYPES.index(name)


def level_index(cell: str) -> int:
    """Return a hospital level as its place among LEVELS, -1 where it is none."""
    text = cell.strip().removesuffix(".0")
    return LEVELS.index(LEVEL_WORDS[text]) if text in LEVEL_WORDS else -1


def truth(cell: str) -> int:
    """Return 1 or 0 for a yes or a no, -1 for anything else."""
    word = cell.strip().lower()
    return 1 if word in _TRUE else 0 if word in _FALSE else -1


def look_up(
    column: pa.ChunkedArray, meaning: Callable[[str], int], null: int, dtype: type, name: str
) -> NDArray[np.int64]:
    """Return `meaning` of each cell of a text column, asked once for each different cell; `null` for null cells."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), null, dtype=dtype)
    if not pa.types.is_dictionary(kind):
        if not (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_string_view(kind)
        ):
            raise LedgerError(f"{name}: expected text, got {kind}")
        # One chunk: the dictionaries of later chunks would hold all that earlier ones held.
        column = pc.dictionary_encode(
            pa.chunked_array([pa.concat_arrays(column.chunks)]) if column.num_chunks > 1 else column
        )
    parts = []
    for chunk in column.chunks:
        cells = chunk.dictionary.to_pylist()
        table: NDArray[Any] = np.array(
            [null if cell is None else meaning(str(cell)) for cell in cells] + [null], dtype=dtype
        )
        indices = chunk.indices
        if indices.null_count:
            indices = pc.fill_null(indices.cast(pa.int32()), len(cells))
        parts.append(table[indices.to_numpy(zero_copy_only=False)])
    return np.concatenate([np.empty(0, dtype=dtype), *parts])
