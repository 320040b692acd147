"""The quizzes: every item of every page, the Python class, and the arithmetic of the script."""

import html
import json
import re
import tomllib
from fractions import Fraction
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from js import DOCUMENT, call, call_source

from cnnbook.figures import quiz
from cnnbook.figures.base import bundle
from cnnbook.figures.quiz import Quiz, pages, read
from cnnbook.shapes import conv_params, output_size, receptive_field

NAMESPACE = dict(np=np, torch=torch, output_size=output_size, conv_params=conv_params, receptive_field=receptive_field)
CHOICE = {"ask": "Which?", "options": [{"say": "a", "why": "no, a"}, {"say": "b", "why": "yes, b", "right": True}]}
NUMBER = {"ask": "How many?", "answer": 1728, "why": "27 · 64", "wrong": [{"value": 576, "why": "one channel"}]}


def items(page: str) -> list[dict]:
    """A page's items as they are written, with their checks."""
    path = quiz.HERE / "quizzes" / f"{page}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["items"]


def choices(page: str) -> list[dict]:
    return [item for item in items(page) if "options" in item]


def numeric(page: str) -> list[dict]:
    return [item for item in items(page) if "options" not in item]


def right_answer(item: dict) -> str:
    if "answer" in item:
        return f"{item['answer']:,}"
    return next(option["say"] for option in item["options"] if option.get("right"))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a quiz's text for a page into an empty folder that the class reads instead of its own."""
    (tmp_path / "quizzes").mkdir()
    monkeypatch.setattr(quiz, "HERE", tmp_path)
    return lambda text, page="01-made-up": (tmp_path / "quizzes" / f"{page}.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", pages())
def test_a_quiz_is_read_and_has_three_to_six_items(page):
    assert 3 <= len(read(page)) <= 6
    assert read(page) == [{key: value for key, value in item.items() if key != "check"} for item in items(page)]
    asked = [item["ask"] for item in read(page)]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("page", pages())
def test_every_check_holds(page):
    for item in items(page):
        value = eval(item["check"], dict(NAMESPACE)) if "check" in item else True
        assert getattr(value, "item", lambda value=value: value)() is True, (item["ask"], item["check"], value)


@pytest.mark.parametrize("page", pages())
def test_numbers_have_a_check_and_wrong_values_that_are_told_apart(page):
    for item in numeric(page):
        assert "check" in item, item["ask"]
        values = [item["answer"], *(wrong["value"] for wrong in item.get("wrong", []))]
        margin = item.get("tolerance", 0)
        assert margin >= 0
        for index, value in enumerate(values):
            assert all(abs(value - other) > 2 * margin for other in values[:index]), (item["ask"], values)


@pytest.mark.parametrize("page", pages())
def test_every_answer_has_its_reason(page):
    for item in items(page):
        answers = item["options"] if "options" in item else [item, *item.get("wrong", [])]
        for answer in answers:
            assert len(answer["why"].split()) >= 5, (item["ask"], answer)


@pytest.mark.parametrize("page", pages())
def test_choices_differ_and_exactly_one_is_right(page):
    for item in choices(page):
        said = [option["say"] for option in item["options"]]
        assert len(set(said)) == len(said) >= 2
        assert [option.get("right", False) for option in item["options"]].count(True) == 1
        assert {type(option.get("right", False)) for option in item["options"]} == {bool}
        assert not {"answer", "wrong", "tolerance"} & set(item), item["ask"]


@pytest.mark.parametrize("page", pages())
def test_an_item_has_no_key_that_nothing_reads(page):
    for item in items(page):
        assert set(item) <= {"ask", "check", "options", "answer", "why", "wrong", "tolerance"}, item["ask"]
        for option in item.get("options", []):
            assert set(option) <= {"say", "why", "right"}
        for wrong in item.get("wrong", []):
            assert set(wrong) <= {"value", "why"}


@pytest.mark.parametrize("page", pages())
def test_the_script_judges_every_answer_of_the_page(page):
    """The right answers score; every wrong one is told its own reason."""
    found = read(page)
    for item in found:
        answers = item["options"] if "options" in item else [item, *item.get("wrong", [])]
        replies = [
            place if "options" in item else answer.get("value", item["answer"]) for place, answer in enumerate(answers)
        ]
        verdicts = call("quiz", "judge", [[item, reply] for reply in replies])
        assert [verdict["why"] for verdict in verdicts] == [answer["why"] for answer in answers]
        expected = [answer.get("right", False) if "options" in item else answer is item for answer in answers]
        assert [verdict["right"] for verdict in verdicts] == expected
    right = [
        next(i for i, option in enumerate(item["options"]) if option.get("right"))
        if "options" in item
        else item["answer"]
        for item in found
    ]
    assert call("quiz", "score", [[found, dict(enumerate(right))]]) == [len(found)]


class Fallback(HTMLParser):
    """The questions and the answers of a fallback, as a browser would show them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.questions, self.answers = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.tags.pop() == tag

    def handle_data(self, data):
        kind = {"li": self.questions, "details": self.answers}.get(self.tags[-1])
        if kind is not None:
            kind.append(data)


@pytest.mark.parametrize("page", pages())
def test_the_fallback_has_every_question_and_its_right_answer(page):
    shown = Fallback(Quiz(page).fallback())
    assert shown.questions == [item["ask"] for item in items(page)]
    for item, answer in zip(items(page), shown.answers, strict=True):
        assert answer.startswith(f"{right_answer(item)}. ")
        reason = item["why"] if "answer" in item else next(o["why"] for o in item["options"] if o.get("right"))
        assert answer.endswith(reason)


def test_the_fallback_escapes_what_is_markup(write):
    write(
        '[[items]]\nask = "Is <b>a & b</b> < c?"\n[[items.options]]\nsay = "<br>"\nwhy = "<i>never</i>"\n'
        '[[items.options]]\nsay = "a < b & \\"c\\""\nwhy = "it\'s <so>"\nright = true\n'
        '[[items]]\nask = "N?"\nanswer = 1234567\nwhy = "x < y"\n'
    )
    text = Quiz("01-made-up").fallback()
    shown = Fallback(text)
    assert shown.questions == ["Is <b>a & b</b> < c?", "N?"]
    assert shown.answers == ['a < b & "c". it\'s <so>', "1,234,567. x < y"]
    tree = ElementTree.fromstring(text)
    assert {node.tag for node in tree.iter()} == {"ol", "li", "details", "summary"}


@pytest.mark.parametrize("page", pages())
def test_the_page_carries_no_check(page):
    figure = Quiz(page)
    assert sorted(figure.state()) == ["items", "page"]
    assert not any("check" in item for item in figure.state()["items"])
    text = figure._repr_mimebundle_()[0]["text/html"]
    state = json.loads(html.unescape(re.search(r'data-state="([^"]*)"', text).group(1)))
    assert state == {"page": page, "items": read(page)}


def test_an_unknown_page_is_said_with_the_known_ones(write):
    write('[[items]]\nask = "N?"\nanswer = 1\nwhy = "w"\n', "02-other")
    write('[[items]]\nask = "N?"\nanswer = 1\nwhy = "w"\n', "01-one")
    with pytest.raises(ValueError, match="no quiz for the page '9-nothing'; there are: 01-one, 02-other"):
        Quiz("9-nothing")
    assert pages() == ["01-one", "02-other"]
    assert read("01-one") == [{"ask": "N?", "answer": 1, "why": "w"}]


@pytest.mark.parametrize("right", [(0, 1), (), (0, 1, 2)])
def test_a_choice_needs_exactly_one_right_answer(write, right):
    options = [
        f'[[items.options]]\nsay = "{place}"\nwhy = "w"\nright = {str(place in right).lower()}\n' for place in range(3)
    ]
    write('[[items]]\nask = "Which of these?"\n' + "".join(options))
    with pytest.raises(ValueError, match="01-made-up.toml: 'Which of these.' needs exactly one right answer"):
        Quiz("01-made-up")


@pytest.mark.parametrize("rest", ["", 'why = "w"\n', "options = []\n", "options = []\nanswer = 3\n"])
def test_an_item_without_an_answer_is_refused(write, rest):
    write('[[items]]\nask = "Fine?"\nanswer = 0\nwhy = "w"\n[[items]]\nask = "And this?"\n' + rest)
    with pytest.raises(ValueError, match="'And this.' needs exactly one right answer"):
        read("01-made-up")


def test_an_item_with_options_and_a_number_is_refused(write):
    """The script would judge the options and the fallback would show the number."""
    write('[[items]]\nask = "Both?"\nanswer = 3\nwhy = "w"\n[[items.options]]\nsay = "4"\nwhy = "w"\nright = true\n')
    with pytest.raises(ValueError, match="'Both.' needs exactly one right answer"):
        read("01-made-up")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1728", 1728), ("1,728", 1728), ("1 728", 1728), (" 1728\t", 1728), ("1\u202f728", 1728), ("1\u00a0728", 1728),
        ("1_728", 1728), ("86,704,128", 86704128), ("−3", -3), ("-3", -3), ("+3", 3), ("− 3", -3), ("−1,728", -1728),
        ("0", 0), ("0.5", 0.5), (".5", 0.5), ("3.", 3), ("1,728.25", 1728.25), ("1e3", 1000), ("−2.5e−3", -0.0025),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_written(text, value):
    assert call("quiz", "parseNumber", [[text]]) == [value]


def test_what_is_no_number_is_nan():
    """A decimal comma as well: "0,5" must not be read as 5."""
    texts = ["", " ", ",", ".", "−", "three", "3 pixels", "1/3", "1.2.3", "--3", "NaN", "Infinity", "1e999"]
    texts += ["0,5", "3,25", "1,72", "17,28", "12,3456"]
    source = bundle("quiz") + "export const written = (text) => String(parseNumber(text));"  # JSON has no NaN
    assert call_source(source, "written", [[text] for text in texts]) == ["NaN"] * len(texts)


def test_random_numbers_are_read_back_from_the_books_own_notation():
    rng = np.random.default_rng(1)
    values = [
        int(sign * 10**size) for sign, size in zip(rng.choice([-1, 1], 200), rng.uniform(0, 15, 200), strict=True)
    ]
    assert call("quiz", "parseNumber", [[f"{value:,}".replace("-", "−")] for value in values]) == values
    decimals = [round(float(value), 3) for value in rng.uniform(-9999, 9999, 200)]
    assert call("quiz", "parseNumber", [[f"{value:,}"] for value in decimals]) == decimals


def test_a_choice_is_judged_by_its_place():
    verdicts = call("quiz", "judge", [[CHOICE, 0], [CHOICE, 1]])
    assert verdicts == [{"right": False, "why": "no, a"}, {"right": True, "why": "yes, b"}]


def test_a_number_is_judged_with_its_known_wrong_values():
    verdicts = call("quiz", "judge", [[NUMBER, reply] for reply in (1728, 576, 1727.5, 0)])
    unknown = {"right": False, "why": "Not this one. Work it through once more with the formula on this page."}
    assert verdicts == [{"right": True, "why": "27 · 64"}, {"right": False, "why": "one channel"}, unknown, unknown]
    assert call("quiz", "judge", [[{"ask": "?", "answer": 3, "why": "w"}, 4]]) == [unknown]


def test_tolerance_holds_up_to_its_end_on_both_sides():
    for answer, tolerance in [(0.5, 0.01), (0.3, 0.01), (28.89, 0.005), (-3, 0.1), (1000, 1)]:
        item = {"ask": "?", "answer": answer, "tolerance": tolerance, "why": "right"}
        ends = [
            float(Fraction(str(answer)) + step * Fraction(str(tolerance)))
            for step in (-1, 1, -Fraction(11, 10), Fraction(11, 10))
        ]
        verdicts = call("quiz", "judge", [[item, reply] for reply in (answer, *ends)])
        assert [verdict["right"] for verdict in verdicts] == [True, True, True, False, False], (answer, tolerance)


def test_a_known_wrong_value_has_the_tolerance_too():
    item = {"ask": "?", "answer": 1, "tolerance": 0.125, "why": "right", "wrong": [{"value": 2, "why": "two"}]}
    verdicts = call("quiz", "judge", [[item, reply] for reply in (2.125, 1.125, 2.25)])
    assert [verdict["why"][:5] for verdict in verdicts] == ["two", "right", "Not t"]


def test_score_counts_what_is_answered_right():
    both = [CHOICE, NUMBER]
    saved = [{}, {"0": 0}, {"0": 1}, {"1": 1728}, {"0": 1, "1": 576}, {"0": 1, "1": 1728}, {"0": 0, "1": 1728, "7": 1}]
    assert call("quiz", "score", [[both, each] for each in saved]) == [0, 0, 1, 1, 1, 2, 1]


def test_score_forgets_a_choice_that_the_quiz_no_longer_has():
    """What a browser remembers may be older than the page."""
    assert call("quiz", "score", [[[CHOICE, NUMBER], {"0": 2, "1": 1728}], [[NUMBER], {"0": "one"}]]) == [1, 0]


def test_a_remembered_number_is_shown_as_it_was_typed():
    """Rounded, it would be another answer, and wrong at the next press of Check."""
    lines = """
      export function shown(items, saved) {
        globalThis.localStorage = { getItem: () => JSON.stringify(saved), setItem() {} };
        const el = new Node("div");
        figure.render({ model: new Model({ page: "p", items }), el });
        return el.find((node) => node.attributes.type === "text").attributes.value;
      }
    """
    source = DOCUMENT + bundle("quiz").replace("export default", "const figure =") + lines
    values = [0.125, 0.0026, 1728, -3.14159, 483385147392]
    fields = call_source(source, "shown", [[[NUMBER], {"0": value}] for value in values])
    assert fields == ["0.125", "0.0026", "1,728", "−3.14159", "483,385,147,392"]
    assert call("quiz", "parseNumber", [[field] for field in fields]) == values
