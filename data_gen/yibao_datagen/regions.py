"""The cities that people can live in: 4 digits → the 6-digit codes of their districts and counties."""

DISTRICTS: dict[int, tuple[int, ...]] = {
    3710: (371002, 371003, 371082, 371083),  # 威海
    3713: (371302, 371311, 371312, 371321, 371322, 371323, 371324, 371325, 371326, 371327, 371328, 371329),  # 临沂
    3303: (330302, 330303, 330304, 330305, 330324, 330326, 330327, 330328, 330329, 330381, 330382, 330383),  # 温州
    2109: (210902, 210903, 210904, 210905, 210911, 210921, 210922),  # 阜新
}
ELSEWHERE: tuple[int, ...] = (110105, 310104, 320102, 370102, 370202, 370602)
"""Where people go for treatment outside: 北京, 上海, 南京, 济南, 青岛, 烟台."""


def districts_of(region: int) -> tuple[int, ...]:
    """Return the 6-digit codes of the city `region` (4 digits)."""
    if region not in DISTRICTS:
        known = ", ".join(str(code) for code in DISTRICTS)
        raise ValueError(f"region: expected one of {known}, got {region}")
    return DISTRICTS[region]
