from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.mapping.filters import FILTERS
from singer_martech.mapping.template import Template
from singer_martech.mapping.undefined import TemplateError, is_undefined
from singer_martech.values.json_codec import encode

FIELD_NAMES = [
    "items",
    "keys",
    "values",
    "get",
    "range",
    "dict",
    "lipsum",
    "cycler",
    "joiner",
    "namespace",
    "record",
    "self",
    "result",
    "environment",
    "context",
    "missing",
    "loop",
    "caller",
    "varargs",
    "kwargs",
    "concat",
    "resolve",
    "undefined",
    "l_0_x",
    "blocks",
    "super",
    "import_",
    "class_",
    "print",
    "length",
]

numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def value_of(source: Any, **record: Any) -> Any:
    return Template(source, "orders")(record)


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and encode(left) == encode(right)


@given(json_values)
@example("1234")
@example("1e5")
@example("true")
@example("{{ x }}")
@example("null")
@example(Decimal("1.10"))
@example(10**40)
def test_one_expression_keeps_the_value_and_its_type(value: Any) -> None:
    for source in ("{{ x }}", "{{x}}", "{{ record.x }}", "{{ record['x'] }}", "{{ (x) }}"):
        assert same(value_of(source, x=value), value), source
    assert same(value_of({"a": ["{{ (record).x }}"]}, x=value), {"a": [value]})


@given(texts)
@example("007")
@example("1.0")
@example("None")
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert value_of("{{ x ~ '' }}", x=text) == text
    assert value_of("a{{ x }}", x=text) == f"a{text}"
    assert value_of("{{ x }}{{ x }}", x=text) == text + text
    assert value_of({"a": "{{ x | upper }}"}, x=text) == {"a": text.upper()}


@given(json_values)
def test_what_is_no_template_stays_as_it_is(value: Any) -> None:
    if "{" not in encode(value).decode().replace('{"', "").replace("{}", ""):
        assert same(value_of(value), value)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_field_may_have_any_name(name: str) -> None:
    for source in (f"{{{{ record.{name} }}}}", f"{{{{ record['{name}'] ~ '' }}}}"):
        assert value_of(source, **{name: "value"}) == "value"
    if name != "record":
        for source in (f"{{{{ {name} }}}}", f"{{{{ {name} ~ '' }}}}", f"{{{{ ({name}) }}}}"):
            assert value_of(source, **{name: "value"}) == "value"


def test_record_and_stream_mean_the_record_and_the_stream() -> None:
    record = {"record": 1, "stream": 2}
    assert Template("{{ record }}", "orders")(record) == record
    assert Template("{{ (record) }}", "orders")(record) == record
    assert Template("{{ stream }}/{{ record.stream }}", "orders")(record) == "orders/2"


@pytest.mark.parametrize("name", ["range", "dict", "lipsum", "cycler", "joiner", "namespace"])
def test_the_global_names_of_jinja_are_not_there(name: str) -> None:
    assert is_undefined(value_of(f"{{{{ {name} }}}}"))
    assert is_undefined(value_of(f"{{{{ {name}(3) }}}}"))
    assert value_of(f"{{{{ {name} is defined }}}}") is False


def test_keys_whose_value_is_undefined_are_left_out() -> None:
    source = {
        "path": "{{ no }}",
        "deep": "{{ no.such.thing }}",
        "expression": "{{ no + 1 }}",
        "inside": "{{ {'a': no, 'b': [no, 1]} }}",
        "text": "before {{ no }}",
        "list": ["{{ no }}", 1],
        "object": {"a": "{{ no }}"},
        "null": "{{ null }}",
        "there": "{{ x }}",
    }
    expected = {"inside": {"b": [1]}, "list": [1], "object": {}, "null": None, "there": 5}
    assert value_of(source, x=5, null=None) == expected
    assert is_undefined(value_of("{{ no }}"))


def test_a_fallback_takes_the_place_of_what_is_undefined() -> None:
    assert value_of("{{ no.such | default('x') }}") == "x"
    assert value_of("{{ a if a is defined else 'x' }}") == "x"


def test_white_space_around_one_expression_does_not_make_it_text() -> None:
    assert value_of(" {{ x }}\n", x=5) == 5
    assert value_of("\n{{ x + 1 }} ", x=5) == 6


def test_white_space_in_text_is_kept() -> None:
    assert value_of("a {{ x }} ", x=5) == "a 5 "
    assert value_of(" {{ x }} b\n", x=5) == " 5 b\n"
    assert value_of("{{ x }} {{ x }}\n", x=5) == "5 5\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), ({"a": [1]}, '{"a":[1]}'), (Decimal("1.10"), "1.10"), (5, "5")],
)
def test_values_in_text_are_written_as_in_json(value: Any, text: str) -> None:
    assert value_of("<{{ x }}>", x=value) == f"<{text}>"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ price * 1.2 }}", "12.000"),
        ("{{ 0.1 + 0.2 }}", "0.3"),
        ("{{ 10 / 4 }}", "2.5"),
        ("{{ price | round(1) }}", "10.0"),
        ("{{ '1.50' | float }}", "1.50"),
        ("{{ whole / 3 * 3 }}", "3"),
    ],
)
def test_money_stays_exact(source: str, expected: str) -> None:
    assert encode(value_of(source, price=Decimal("10.00"), whole=3)).decode() == expected


def test_filters_of_jinja_give_plain_values() -> None:
    record = {"name": "a<b", "list": [3, 1], "price": Decimal("1.10")}
    source = {
        "escaped": "{{ name | escape }}",
        "json": "{{ record | tojson }}",
        "generator": "{{ list | map('string') }}",
        "batches": "{{ list | batch(1) }}",
        "sorted": "{{ list | sort }}",
        "first": "{{ list[0] }}",
        "method": "{{ name.upper() }}",
    }
    assert json.loads(encode(value_of(source, **record))) == {
        "escaped": "a&lt;b",
        "json": '{"name":"a<b","list":[3,1],"price":1.10}',
        "generator": ["3", "1"],
        "batches": [[3], [1]],
        "sorted": [1, 3],
        "first": 3,
        "method": "A<B",
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ '2024-05-01T12:00:00+02:00' | epoch_s }}", 1714557600),
        ("{{ '2024-05-01T10:00:00.5Z' | epoch_ms }}", 1714557600500),
        ("{{ '2024-05-01' | epoch_s }}", 1714521600),
        ("{{ '2024-05-01 10:00:00.1234567' | iso }}", "2024-05-01T10:00:00.123456Z"),
        ("{{ '2024-05-01T10:00:00+0530' | iso }}", "2024-05-01T04:30:00Z"),
        ("{{ '2024-05-01T10:00z' | iso }}", "2024-05-01T10:00:00Z"),
        ("{{ 1714557600 | iso }}", "2024-05-01T10:00:00Z"),
        ("{{ 1714557600500 | iso }}", "2024-05-01T10:00:00.500Z"),
        ("{{ 'x' | sha256 }}", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ("{{ 5 | sha256 }}", "ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d"),
        ("{{ 'x' | uuid }}", "72909f31-cefd-56d5-8383-de612ef26bb3"),
        ("{{ none | epoch_s }}", None),
    ],
)
def test_the_filters_beside_those_of_jinja(source: str, expected: Any) -> None:
    assert value_of(source) == expected


def test_the_filters_leave_out_what_is_undefined() -> None:
    for name in ("epoch_s", "epoch_ms", "iso", "sha256", "uuid"):
        assert is_undefined(value_of(f"{{{{ no | {name} }}}}"))


@pytest.mark.parametrize(
    "source",
    [
        "{{ a",
        "{{ }}",
        "{{ a | nosuchfilter }}",
        "{{ a is nosuchtest }}",
        "{{ 'a }}",
        "{{ a..b }}",
        "{% if a %}b{% endif %}",
        "{# never closed",
        "{{ a }} {% raw %}",
        "{{ a b }}",
    ],
)
def test_what_cannot_compile_is_told_at_once_and_where(source: str) -> None:
    with pytest.raises(TemplateError, match=r"^deep\.down\[1\]: "):
        Template({"deep": {"down": [1, source]}}, "orders")


def test_an_expression_that_fails_for_a_record_is_told_with_its_place() -> None:
    template = Template({"fine": "{{ x ~ '' }}", "bad": "{{ x + 1 }}"}, "orders")
    assert template({"x": 1}) == {"fine": "1", "bad": 2}
    with pytest.raises(TemplateError, match=r"^bad: TypeError"):
        template({"x": "one"})


@pytest.mark.parametrize(
    "source",
    [
        "{{ x.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ record.update({'a': 1}) }}",
        "{{ x.format.__globals__ }}",
    ],
)
def test_nothing_leads_out_of_the_record(source: str) -> None:
    record = {"x": "text"}
    try:
        value = Template(source, "orders")(record)
    except TemplateError:
        pass
    else:
        assert is_undefined(value)
    assert record == {"x": "text"}


@given(st.text())
def test_a_uuid_is_that_of_the_standard_library(text: str) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "singer-martech")
    assert Template("{{ x | uuid }}", "s")({"x": text}) == str(uuid.uuid5(namespace, text))


@pytest.mark.parametrize("name", sorted(FILTERS))
@pytest.mark.parametrize("value", [None, "2026-01-02T03:04:05.678Z", 1_700_000_000, "no time", []])
def test_a_filter_on_a_plain_field_does_what_it_does_in_an_expression(
    name: str, value: Any
) -> None:
    def batch_result(source: str) -> Any:
        try:
            return Template({"key": source}, "s")({"x": value})
        except TemplateError as error:
            return str(error)

    assert batch_result(f"{{{{ x | {name} }}}}") == batch_result(f"{{{{ (x) | {name} }}}}")
