"""What each key of a policy file means, and the words in which documents say it: what lint teaches beside a fault."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Lesson(NamedTuple):
    """A key in an office's words, and the sentence of the document that its `source` should cite."""

    meaning: str
    sentence: str  # how documents word it; "" where the key is the file's own


_WHO = Lesson('the categories that the rule is for, or "everyone"', "对低保对象、特困人员…")
_LESSONS = {
    "format": Lesson("the version of this file format", ""),
    "id": Lesson("a short name of letters, digits and - (rules: _), unique in its place", ""),
    "title": Lesson("the policy's name, as people say it", "关于…的通知"),
    "document": Lesson("the document's number", "威医保发〔2019〕37号"),
    "region": Lesson("the administrative code of the pooling area: 2, 4 or 6 digits (37, 3710)", ""),
    "supersedes": Lesson("ids of policies that this one replaces where both would hold", "原有规定与本通知不一致的，以本通知为准"),
    "rounding": Lesson("how fractions of a fen end: half_up or down", ""),
    "year_follows": Lesson("which date decides the benefit year", "一个医疗年度内…"),
    "in_force": Lesson("the service dates that the rules are for", "自2019年1月1日起施行"),
    "known": Lesson("the day on which settlement under the rules begins", "自…起执行, or the date of issue"),
    "window": Lesson("the service dates that a re-accounting computes again", "1月1日至8月31日期间发生的…重新核算"),
    "favour": Lesson("which category counts where a person has several, the best treated first", "…执行待遇就高原则, or the order in which the rules name people"),
    "groups": Lesson("a name for several categories", "以下简称贫困人口"),
    "routing": Lesson("who is paid the difference of a re-accounting", "补报资金…拨付至…"),
    "financing": Lesson("what each enrollee brings in a year", "人均筹资标准…元"),
    "parameters": Lesson("a number that the document leaves to somebody else", "由各统筹地区确定"),
    "unit": Lesson("yuan or percent", ""),
    "meaning": Lesson("what the number is, in the document's own words", "起付标准、救助比例、年度限额"),
    "required": Lesson("true: rows that reach the rule cannot be settled without it; false: without it the rule is left out", ""),
    "per_category": Lesson("the categories that have a value each", "按对象类别确定"),
    "default": Lesson("the value where nobody gives one; only what the document itself says", "按70%的比例"),
    "minimum": Lesson("the least that the document allows", "不低于70%"),
    "maximum": Lesson("the most that the document allows, or a share of another parameter", "不超过…的一半"),
    "ratios": Lesson("an average that the document aims at: reported with every run, never enforced", "政策范围内住院费用支付比例达到70%"),
    "target": Lesson("the average that the document aims at", "达到70%左右"),
    "layers": Lesson("all eight benefits, in the order in which they pay", "按照基本医保、大病保险、医疗救助…顺序"),
    "name": Lesson("one of the eight benefits", ""),
    "care_types": Lesson("the kinds of treatment that it covers", "住院费用; 普通门诊; 门诊慢特病"),
    "otherwise": Lesson("what a row gets that no rule reaches: \"recorded\" (the ledger's figure stands, the document says nothing) or \"zero\" (the document says who is entitled)", ""),
    "charged_to": Lesson("which part of the bill the payment falls on", ""),
    "base": Lesson("the fees that the layer pays on", "政策范围内个人负担费用"),
    "less": Lesson("the earlier layers whose payments are taken off the base", "经基本医保、大病保险报销后"),
    "account": Lesson("where the year's base and payments add up; rules with one account share them", "年度累计"),
    "rules": Lesson("who gets what from the layer; the first that covers a row counts", ""),
    "who": _WHO,
    "tiers": Lesson("the steps of the schedule: from which amount on which rate is paid", "5000元以上（含）、10万元以下的部分给予65%补偿"),
    "from": Lesson("the lower bound: of a tier, of a period, of an age", "5000元以上（含）"),
    "to": Lesson("the last day, or the last year of age, that belongs to it", "至12月31日"),
    "rate": Lesson("what is paid of the part in the tier, as text with %", "按65%的比例"),
    "deductible": Lesson("what the person bears first", "起付线, 起付标准"),
    "edges": Lesson("whether the tiers' bounds include the deductible or count above it", "起付线以上…万元"),
    "cap": Lesson("the most that is paid a year, or \"none\"", "封顶线, 年度最高支付限额; 不设封顶线"),
    "shared_limit": Lesson("a yearly limit that several rules draw on", "住院和门诊救助共用年度救助限额"),
    "limit": Lesson("the height of the shared limit", "年度救助限额…元"),
    "age": Lesson("completed years on the service date", "18岁及以下"),
    "levels": Lesson("the hospital levels that the rule is for: 1, 2, 3, and 9 for not graded", "一级、二级、三级医疗机构"),
    "treated": Lesson("whether the rule is for treatment inside or outside the insured city", "统筹地区外就医, 转外就医"),
    "ceiling": Lesson("the share of the base that all payers together may reach", "综合报销比例不超过90%"),
    "per": Lesson("whether the schedule runs over the \"year\" or over each \"stay\"", "每次住院"),
    "schedule": Lesson("\"marginal\": each tier pays on its part; \"whole\": one tier's rate on all of the stay", ""),
    "stay_cap": Lesson("the most that one stay is paid", "单次救助限额"),
    "later_stays": Lesson("the share of the deductible that the first, second, third … stay of a year bears", "第二次住院起付标准降低…, 第三次及以上…"),
    "deductible_limit": Lesson("the most that the stays of a year bear of their deductibles together", "年度内累计起付标准不超过…元"),
    "deductible_once": Lesson("true: a year bears one deductible, at its highest level", "一个年度内只计算一次起付线, 按最高级别医疗机构"),
    "referral": Lesson("stays of one episode bear only the difference to the higher deductible: \"inside\" the city or \"anywhere\"", "转诊住院患者连续计算起付线"),
    "source": Lesson("where it stands: the article, and the sentence itself", "二(二)2: …"),
    "note": Lesson("what a reader should know about the whole file", ""),
    "order": Lesson("all nine categories, the best treated first", ""),
    "categories": Lesson("the categories behind the name", "低保对象、特困人员"),
    "issued": Lesson("the date on the document", "2019年8月12日印发"),
    "per_enrollee": Lesson("yuan a year for each enrollee", "每人81元"),
}  # fmt: skip


_LAYER_SENTENCES = {
    "basic": "住院起付标准…元，报销比例…%", "catastrophic": "大病保险起付线…元，…以上部分给予…%补偿", "special_drug": "特药…",
    "assistance": "医疗救助…比例…%，年度限额…元", "institution_reduction": "医疗机构减免…", "commercial": "医疗商业补充保险…",
    "reassistance": "再救助…", "pku": "苯丙酮尿症…",
}  # fmt: skip


def lesson(path: str) -> Lesson | None:
    """Return what the last known key of a fault's path means, None where it has none (`layers[0].rules[1].cap`: the cap).

    The sentence that a source should cite is that of what it stands beside.
    """
    keys = [re.sub(r"\[.*", "", part) for part in path.split(".")]
    if keys[-1] == "source":
        sentences = (_LESSONS[key].sentence for key in reversed(keys) if key in _LESSONS and key != "source")
        return _LESSONS["source"]._replace(sentence=next(filter(None, sentences), _LESSONS["source"].sentence))
    if len(keys) == 2 and keys[0] in ("in_force", "known", "window") and keys[1] in ("from", "to"):
        return _LESSONS[keys[0]]
    return next((_LESSONS[key] for key in reversed(keys) if key in _LESSONS), None)


def taught(fault: str, data: Mapping[str, object] | None = None) -> str | None:
    """Return the line that teaches beside a fault `path: expected X, got Y`; `data` is the file, to name rules by their ids."""
    path = fault.partition(": ")[0]
    found = lesson(path)
    layer, rule = _named(path, data or {})
    parts = [f"in rule {rule} of {layer}" if rule else f"in layer {layer}"] if layer else []
    if found is not None and found.meaning not in fault:
        parts.append(found.meaning)
    sentence = found.sentence if found is not None else ""
    if layer and path.endswith(".source"):
        sentence = _LAYER_SENTENCES.get(layer, sentence)
    if sentence:
        parts.append(f'its source cites a sentence such as "{sentence}"')
    return "; ".join(parts) or None


def _named(path: str, data: Mapping[str, object]) -> tuple[str, str]:
    """Return the names of the layer and the rule that a path leads into, as far as the file has them."""
    place = re.match(r"layers\[([0-9]+)\](?:\.rules\[([0-9]+)\])?", path)
    names = ["", ""]
    inner: object = data
    for index, key, name in ((1, "layers", "name"), (2, "rules", "id")):
        if place is None or place[index] is None or not isinstance(inner, Mapping):
            break
        listed = inner.get(key)
        inner = listed[int(place[index])] if isinstance(listed, list) and int(place[index]) < len(listed) else None
        names[index - 1] = str(inner.get(name, "")) if isinstance(inner, Mapping) else ""
    return names[0], names[1]


def todos(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and a fault for each text with TODO in it: what belongs there, and what its source should cite."""
    if isinstance(value, str) and "TODO" in value:
        found = lesson(path)
        yield path, f"{path}: expected {found.meaning if found else 'a value'}, got {value!r}"
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from todos(inner, f"{path}.{key}" if path else key)
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from todos(inner, f"{path}[{index}]")
