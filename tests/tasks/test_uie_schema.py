"""Schemas: what is asked in which stage, and where the answers go."""

import json

import pytest

from uer.errors import DataError
from uer.tasks.uie_schema import Part, extract, read_schema


def schema(tmp_path, value):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return read_schema(path)


class Answers:
    """Answers that are known, and what was asked in each stage."""

    def __init__(self, answers):
        self.answers, self.stages = answers, []

    def __call__(self, asks):
        self.stages.append([prompt for prompt, _ in asks])
        return [[{"text": text, "probability": 0.9} for text in self.answers.get(ask, ())] for ask in asks]


def asked(tmp_path, value, answers, texts=("甲", "乙"), lang="zh"):
    ask = Answers(answers)
    found = extract(schema(tmp_path, value), texts, ask, lang=lang)
    return found, ask.stages


def said(text, **relations):
    more = {"relations": relations} if relations else {}
    return {"text": text, "probability": 0.9, **more}


def test_entities(tmp_path):
    found, stages = asked(
        tmp_path, ["时间", "选手"], {("时间", "甲"): ["八日"], ("选手", "乙"): ["谷", "苏"]}
    )
    assert found == [{"时间": [said("八日")]}, {"选手": [said("谷"), said("苏")]}]
    assert stages == [["时间", "选手", "时间", "选手"]]
    assert schema(tmp_path, "时间") == (Part("时间"),)


def test_relations_of_relations(tmp_path):
    answers = {
        ("公司", "甲"): ["百度", "小度"],
        ("百度的总部", "甲"): ["北京"],
        ("北京的人口", "甲"): ["两千万"],
        ("小度的产品", "甲"): ["音箱"],
    }
    found, stages = asked(tmp_path, {"公司": [{"总部": "人口"}, "产品"]}, answers)
    assert found == [
        {
            "公司": [
                said("百度", 总部=[said("北京", 人口=[said("两千万")])]),
                said("小度", 产品=[said("音箱")]),
            ]
        },
        {},
    ]
    assert stages == [
        ["公司", "公司"],
        ["百度的总部", "百度的产品", "小度的总部", "小度的产品"],
        ["北京的人口"],
    ]


def test_the_same_question_is_asked_once(tmp_path):
    answers = {("公司", "甲"): ["百度", "百度"], ("百度的总部", "甲"): ["北京"]}
    found, stages = asked(tmp_path, {"公司": ["总部"]}, answers, texts=("甲",))
    assert stages == [["公司"], ["百度的总部"]]
    first, second = found[0]["公司"]
    assert first == second == said("百度", 总部=[said("北京")]) and first is not second


def test_events_opinions_and_sentiments(tmp_path):
    answers = {
        ("触发词", "甲"): ["地震"],
        ("地震的震级", "甲"): ["3.5级"],
        ("评价维度", "乙"): ["店面"],
        ("店面的观点词", "乙"): ["干净"],
        ("店面的情感倾向[正向,负向]", "乙"): ["正向"],
        ("情感倾向[正向,负向]", "乙"): ["正向"],
    }
    value = [
        {"触发词": ["震级", "时间"], "评价维度": ["观点词", "情感倾向[正向,负向]"]},
        "情感倾向[正向,负向]",
    ]
    found, _ = asked(tmp_path, value, answers)
    sentiment = {"情感倾向[正向,负向]": [said("正向")]}
    assert found == [
        {"触发词": [said("地震", 震级=[said("3.5级")])]},
        {"评价维度": [said("店面", 观点词=[said("干净")], **sentiment)], **sentiment},
    ]


def test_english_prompts(tmp_path):
    value = {"aspect": ["opinion", "sentiment classification [positive, negative]"]}
    _, stages = asked(tmp_path, value, {("aspect", "a"): ["room"]}, texts=("a",), lang="en")
    assert stages[1] == ["opinion of room", "sentiment classification of room [positive, negative]"]


@pytest.mark.parametrize(
    "value, message",
    [
        ([], "the document: the list has 0 entries; 1 are needed"),
        ({}, "the document: is empty"),
        ({"a": []}, "a: the list has 0 entries"),
        ([3], r"\[0\]: must be a list, and is 3"),
        (["a", {"a": "b"}], "names 'a' twice"),
        ([" "], r"\[0\]: holds an empty name"),
        ({"a": ["b", "b"]}, "a: names 'b' twice"),
    ],
)
def test_faulty_schemas(tmp_path, value, message):
    with pytest.raises(DataError, match=r"schema\.json: .*" + message):
        schema(tmp_path, value)
