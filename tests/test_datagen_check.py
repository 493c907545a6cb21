"""The city beside its profile, and the tail of its cost beside what people really spent."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yibao_datagen
from yibao_datagen.check import Found, check_lines, measure
from yibao_datagen.profile import BUILT_IN, read_profile
from yibao_datagen.report import SHARES, meps_cost, quantile_ratios, write_report

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
MEPS = (
    Path(os.environ.get("YIBAO_REAL_DATA", Path(__file__).parents[1].parent / "shared/data"))
    / "meps/meps_person_panel.parquet"
)
needs_kernels = pytest.mark.skipif(not COMPILED, reason="a city of this size is for compiled kernels")


@pytest.fixture(scope="module")
def found() -> Found:
    return measure(yibao_datagen.City(200_000, seed=1))


@needs_kernels
def test_every_figure_of_the_profile_is_met(found: Found) -> None:
    """Within four standard deviations of a city of this size and two hundredths, or the profile's own bounds."""
    missed = [target for target in found.targets if not target.is_met]
    assert missed == []
    names = {target.name for target in found.targets}
    assert {"age 0 to 4", "dibao", "has dialysis", "inpatient bills a head", "top 1 percent share"} <= names
    assert all(target.least <= target.most and target.source for target in found.targets)


@needs_kernels
@pytest.mark.parametrize(
    ("before", "after", "figure"),
    [
        ("dibao = { value = 0.0130", "dibao = { value = 0.0330", "dibao"),
        ("rate = { value = 0.166", "rate = { value = 0.266", "inpatient bills a head"),
        ("death_rate = { value = 0.00767", "death_rate = { value = 0.01167", "died in the year"),
        ("0.28, 0.45], source", "0.38, 0.45], source", "retained top 10 percent"),
    ],
)
def test_another_profile_is_another_city(tmp_path: Path, found: Found, before: str, after: str, figure: str) -> None:
    """A city of the changed profile meets it, where it can, and the old city does not."""
    text = (BUILT_IN / "weihai-2019.toml").read_text(encoding="utf-8")
    assert text.count(before) == 1
    file = tmp_path / "other.toml"
    file.write_text(text.replace(before, after), encoding="utf-8")
    changed = measure(yibao_datagen.City(100_000, profile=file))
    wanted = next(target for target in changed.targets if target.name == figure)
    old = next(target for target in found.targets if target.name == figure)
    assert not wanted.least <= old.found <= wanted.most
    assert wanted.is_met is (figure != "retained top 10 percent")
    assert any(line.endswith("MISSED") for line in check_lines(changed.targets)) is not all(
        target.is_met for target in changed.targets
    )


@needs_kernels
def test_claims_are_over_dispersed_and_seasonal(found: Found) -> None:
    assert 5 < found.rows.var() / found.rows.mean() < 60  # Poisson: 1
    assert 0.35 < np.mean(found.rows == 0) < 0.55
    outpatient = found.days[1][:365]
    sundays = np.arange(5, 365, 7)  # 6 January 2019 was one
    assert outpatient[sundays].mean() < 0.85 * outpatient.mean()
    assert outpatient[34:41].mean() < 0.75 * outpatient.mean()  # the Spring Festival
    assert outpatient[5:25].mean() > 1.3 * outpatient[150:250].mean()  # the epidemic


@pytest.mark.big
@needs_kernels
def test_the_top_person_of_a_million_has_over_a_thousand_rows() -> None:
    million = measure(yibao_datagen.City(1_000_000, seed=1))
    assert [target.name for target in million.targets if not target.is_met] == []
    assert 1_000 < million.rows.max() < 2_500
    assert (million.rows > 300).sum() > 20


@needs_kernels
@pytest.mark.skipif(not MEPS.is_file(), reason="no real data here")
def test_the_tail_of_the_cost_is_shaped_as_that_of_meps(found: Found) -> None:
    """Beyond the dearest twentieth both fall alike: quantiles are a steady multiple of each other."""
    ours, theirs = quantile_ratios(found.cost, meps_cost(MEPS))
    tail = (SHARES >= 0.97) & (SHARES <= 0.9995)
    ratio = ours[tail] / theirs[tail]
    assert 1.1 < ratio.min() < ratio.max() < 2.1
    slope = np.polyfit(np.log(theirs[tail]), np.log(ours[tail]), 1)[0]
    assert 0.85 < slope < 1.2


@needs_kernels
def test_the_page_shows_every_figure_and_picture(tmp_path: Path, found: Found) -> None:
    pytest.importorskip("matplotlib")
    meps = MEPS if MEPS.is_file() else None
    page = write_report(found, tmp_path / "page", meps)
    text = page.read_text(encoding="utf-8")
    assert text.count("<tr") == len(found.targets) + 1
    assert text.count("<img") == (5 if meps else 4)
    for file in (tmp_path / "page").glob("*.svg"):
        assert f'src="{file.name}"' in text
    again = write_report(found, tmp_path / "again", meps)
    for file in (tmp_path / "page").iterdir():
        assert (again.parent / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('rate = 5\n', "rate: expected"),
        ('[visits]\nrate = { value = 5 }\n', "visits.rate"),
        ('[visits]\nrate = { value = 5, source = "" }\n', "visits.rate: expected a value and its source"),
        ("rate = [", "profile"),
        ('region = 3710\nbase_year = 2019\n', "districts: expected it, got no such figure"),
    ],
)  # fmt: skip
def test_a_faulty_profile_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "faulty.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        yibao_datagen.City(10, profile=file).ledger()


def test_every_figure_has_a_source() -> None:
    profile = read_profile("weihai-2019")
    assert len(profile.figures) > 90
    given: Any = [figure.source for figure in profile.figures.values()]
    assert all(len(source) > 4 for source in given)
