from __future__ import annotations

import datetime
import functools
import json
import re
import sys
import time
import uuid
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.mapping.filters import FILTERS
from singer_martech.mapping.jinja_env import ENVIRONMENT
from singer_martech.mapping.template import Template, unknown_fields
from singer_martech.mapping.undefined import UNDEFINED, TemplateError
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


FILTER_NAMES = sorted(filter(str.isidentifier, ENVIRONMENT.filters))


def value_of(source: Any, **record: Any) -> Any:
    return Template(source, "orders")(record)


def value_or_error(source: Any, **record: Any) -> Any:
    try:
        return value_of(source, **record)
    except TemplateError as error:
        return error


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
def test_values_without_expressions_are_unchanged(value: Any) -> None:
    if "{" not in encode(value).decode().replace('{"', "").replace("{}", ""):
        assert same(value_of(value), value)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_field_may_have_any_name(name: str) -> None:
    for source in (f"{{{{ record.{name} }}}}", f"{{{{ record['{name}'] ~ '' }}}}"):
        assert value_of(source, **{name: "value"}) == "value"
    if name != "record":
        for source in (f"{{{{ {name} }}}}", f"{{{{ {name} ~ '' }}}}", f"{{{{ ({name}) }}}}"):
            assert value_of(source, **{name: "value"}) == "value"


def test_record_and_stream_are_available_in_expressions() -> None:
    record = {"record": 1, "stream": 2}
    assert Template("{{ record }}", "orders")(record) == record
    assert Template("{{ (record) }}", "orders")(record) == record
    assert Template("{{ stream }}/{{ record.stream }}", "orders")(record) == "orders/2"


@pytest.mark.parametrize("name", ["range", "dict", "lipsum", "cycler", "joiner", "namespace"])
def test_the_global_names_of_jinja_are_not_available(name: str) -> None:
    assert value_of(f"{{{{ {name} }}}}") is UNDEFINED
    assert value_of(f"{{{{ {name}(3) }}}}") is UNDEFINED
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
    assert value_of("{{ no }}") is UNDEFINED


def test_default_replaces_undefined_values() -> None:
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


def test_filters_of_jinja_return_plain_values() -> None:
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
        ("{{ 'x' | uuid1 }}", "72909f31-cefd-16d5-8383-df612ef26bb3"),
        ("{{ 'x' | uuid1(1714557600) }}", "92745000-07a1-11ef-8383-df612ef26bb3"),
        ("{{ 'x' | uuid1(none) }}", "72909f31-cefd-16d5-8383-df612ef26bb3"),
    ],
)
def test_additional_filters(source: str, expected: Any) -> None:
    assert value_of(source) == expected


def test_filters_skip_undefined_values() -> None:
    for name in FILTERS:
        assert value_of(f"{{{{ no | {name} }}}}") is UNDEFINED


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
def test_a_template_that_cannot_compile_is_named_with_its_path(source: str) -> None:
    with pytest.raises(TemplateError, match=r"^deep\.down\[1\]: "):
        Template({"deep": {"down": [1, source]}}, "orders")


def test_an_expression_that_fails_for_a_record_is_named_with_its_path() -> None:
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
def test_expressions_cannot_access_anything_outside_the_record(source: str) -> None:
    record = {"x": "text"}
    try:
        value = Template(source, "orders")(record)
    except TemplateError:
        pass
    else:
        assert value is UNDEFINED
    assert record == {"x": "text"}


@given(st.text())
def test_a_uuid_equals_that_of_the_standard_library(text: str) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "singer-martech")
    assert Template("{{ x | uuid }}", "s")({"x": text}) == str(uuid.uuid5(namespace, text))


@pytest.mark.parametrize("name", sorted(FILTERS))
@pytest.mark.parametrize("value", [None, "2026-01-02T03:04:05.678Z", 1_700_000_000, "no time", []])
def test_a_filter_gives_the_same_result_for_a_plain_field_and_an_expression(
    name: str, value: Any
) -> None:
    plain, general = (
        value_or_error({"key": f"{{{{ {field} | {name} }}}}"}, x=value) for field in ("x", "(x)")
    )
    assert (type(plain), str(plain)) == (type(general), str(general))


NULL_GIVES_NULL = [
    "x | lower",
    "x | upper",
    "x | int",
    "x | float",
    "x | round(2)",
    "x | replace('a', 'b')",
    "x | map('upper')",
    "x * 2",
    "2 * x",
    "-x",
    "x + 1",
    "x - 1",
    "1 / x",
    "x // 2",
    "x % 2",
    "'%s' % x",
    "x ** 2",
    "x ~ 'a'",
    "'a' ~ x",
    "x < 1",
    "1 >= x",
    "1 < x < 3",
    "'a' in x",
    "x[:2]",
    "x.strip()",
    "x.strip().upper()",
    "x.split(',')[0].strip()",
    "x['strip']()",
    "(x | lower) ~ (x | upper)",
]


@pytest.mark.parametrize("expression", NULL_GIVES_NULL)
def test_null_stays_null(expression: str) -> None:
    value = value_of({"key": f"{{{{ {expression} }}}}"}, x=None)
    expected = {} if "[0]" in expression else {"key": None}
    assert value == expected


@pytest.mark.parametrize("expression", NULL_GIVES_NULL)
def test_an_undefined_value_removes_its_key(expression: str) -> None:
    assert value_of({"key": f"{{{{ {expression} }}}}"}) == {}


@given(
    st.lists(
        st.sampled_from([name for name in FILTER_NAMES if name not in {"default", "d"}]), min_size=1
    ),
    st.booleans(),
)
def test_every_filter_returns_null_and_undefined_unchanged(names: list[str], is_null: bool) -> None:
    value = value_of(
        {"key": f"{{{{ x | {' | '.join(names)} }}}}"}, **({"x": None} if is_null else {})
    )
    assert value == ({"key": None} if is_null else {})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x | default('y')", "y"),
        ("x | d(5)", 5),
        ("no | default('y')", "y"),
        ("x.a.b | default('y')", "y"),
        ("(x * 2) | default('y')", "y"),
        ("x | lower | default('y')", "y"),
        ("x is none", True),
        ("x | lower is none", True),
        ("x == none", True),
        ("x in [none]", True),
        ("x is odd", False),
        ("x is gt(1)", False),
        ("x or 'y'", "y"),
        ("'a' if x else 'b'", "b"),
        ("'a' if x > 1 else 'b'", "b"),
        ("['a', x, 'b'] | join('-')", "a--b"),
        ("[{'n': 'a'}, {'n': x}] | join('-', attribute='n')", "a-"),
        ("'{}-{}'.format('a', x)", "a-"),
        ("'%s-%s' | format('a', x)", "a-"),
        ("'%s-%s' % ('a', x)", "a-"),
        ("'{a}'.format_map({'a': x})", ""),
        ("'a-b' | replace('-', x)", "ab"),
        ("[x, 'a'] | map('upper') | list", [None, "A"]),
    ],
)
def test_default_tests_conditions_and_texts_handle_null(expression: str, expected: Any) -> None:
    assert value_of(f"{{{{ {expression} }}}}", x=None) == expected
    assert value_of({"text": "<{{ x | lower }}>"}, x=None) == {"text": "<>"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'12345678901234567890' | int", 12345678901234567890),
        ("'1.9' | int", 1),
        ("'1e3' | int", 1000),
        ("'ff' | int(0, 16)", 255),
        ("'abc' | int", 0),
        ("'nan' | int(5)", 5),
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("'a' ~ 1 ~ 1.50", "a11.5"),
        ("'abcdef'[1:3]", "bc"),
        ("2 ** -1", Decimal("0.5")),
        ("2.5 | round", Decimal(2)),
        ("1.25 | round(1, 'ceil')", Decimal("1.3")),
        ("-1.25 | round(1, 'floor')", Decimal("-1.3")),
        ("1250 | round(-2)", 1200),
        ("'%05.1f' % 2.25", "002.2"),
        ("'a' * 3", "aaa"),
        ("[0] * 2", [0, 0]),
    ],
)
def test_operators_and_filters_match_the_jinja_documentation(
    expression: str, expected: Any
) -> None:
    value = value_of(f"{{{{ {expression} }}}}")
    assert (type(value), value) == (type(expected), expected)


HUGE = [Decimal("1e999990"), Decimal("-1E+999999999999999999"), Decimal("1e-999990")]


@pytest.mark.parametrize(
    "expression",
    [
        "x | int",
        "x | round",
        "x | round(2, 'ceil')",
        "x | epoch_s",
        "x | epoch_ms",
        "x | iso",
        "x | abs",
        "x | string",
        "x | filesizeformat",
        "x // 7",
        "x % 7",
        "x * x",
        "x ** 1000000000",
        "x + 1",
        "'%d' % x",
        "'%d' | format(x)",
        "'{:f}'.format(x)",
        "x.as_integer_ratio()",
        "x is divisibleby 3",
        "x > 5",
        "[x, 1] | sum",
        "x | uuid1",
        "'x' | uuid1(x)",
    ],
)
@pytest.mark.parametrize("number", HUGE)
def test_no_number_of_a_record_is_expanded(expression: str, number: Decimal) -> None:
    for source in (f"{{{{ {expression} }}}}", f"<{{{{ {expression} }}}}>"):
        started = time.process_time()
        value = value_or_error(source, x=number)
        assert time.process_time() - started < 1
        if isinstance(value, TemplateError):
            assert re.match(r"[A-Z]\w+: ", str(value))
        assert len(str(value)) < 5000


@pytest.mark.parametrize(
    "expression",
    [
        "'a' * 10**9",
        "10**9 * 'a'",
        "[0] * 10**9",
        "[['a' * 1000] * 1000] * 1000",
        "('a' * 10**5) * 10**5",
        "2 ** (10**9)",
        "2 ** -(10**9)",
        "9 ** (9 ** 9)",
        "(10 ** 20000) * (10 ** 20000)",
        "'%999999999d' % 5",
        "'%*d' % (999999999, 5)",
        "'%.999999999f' % 5",
        "'%999999999d' | format(5)",
        "'{:999999999}'.format(5)",
        "'{:{}}'.format(5, 999999999)",
        "'a'.center(10**9)",
        "'a'.ljust(10**9)",
        "'a'.zfill(width=10**9)",
        "('a' * 1000).replace('a', 'b' * 10000)",
        "('a' * 1000) | replace('a', 'b' * 10000)",
        "('a' * 10000).join('b' * 10000)",
        "['a'] * 10000 | join('b' * 10000)",
        "('\t' * 10000).expandtabs(10000)",
        "(5).to_bytes(10**9, 'big')",
        "'a' | center(10**9)",
        "'a' | indent(10**9, true)",
        "('\n' * 10000) | indent(10000)",
        "[1] | batch(10**9, 'x') | list",
        "[1] | slice(10**9) | list",
        "1.5 | round(10**9, 'ceil')",
        "('{0}' * 1000).format('a' * 10000)",
        "('%(a)s' * 1000) % {'a': 'b' * 10000}",
        "('a' * 10000) | map('center', 1000000) | list | length",
        "('a' * 1000000) | wordwrap(1)",
    ],
)
def test_an_expression_that_would_take_all_memory_fails(expression: str) -> None:
    started = time.process_time()
    with pytest.raises(TemplateError, match=r"^key: (ValueError|TypeError|Overflow): "):
        value_of({"key": f"{{{{ {expression} }}}}"})
    assert time.process_time() - started < 2


LONG = "a" * 100_000
NUMBERS = list(range(10_000))
NESTED: Any = functools.reduce(lambda inner, _: [inner], range(500), cast("Any", NUMBERS))


@pytest.mark.parametrize(
    ("expression", "v", "w"),
    [
        ("v % w", "%(a)s" * 100_000, {"a": [1] * 100_000}),
        ("v % w", "%(a)s" * 100_000, {"a": 10**4000}),
        ("v % w", "%(a)999999s" * 3000, {"a": "x"}),
        ("v % w", "%999999d" * 3000, 5),
        ("v % w", "%(a)d", {"a": Decimal("1e999990")}),
        ("v % w", "%(a(b))s" * 1000, {"a(b)": LONG}),
        ("v % w", "%(a" * 1000, {"a": 1}),
        ("v.encode() % w", "%999999999d", 5),
        ("v | format(**w)", "%(a)s" * 1000, {"a": LONG}),
        ("v.format(w)", "{0!r}" * 1000, LONG),
        ("v.format(w)", "{0[0]}" * 1000, [LONG]),
        ("v.format(w)", "{0:>999999}" * 3000, "x"),
        ("v.format_map(w)", "{a}" * 1000, {"a": LONG}),
        ("v | batch(w, v) | list", LONG, 10**6),
        ("v | slice(w, v) | list", LONG, 10**6),
        ("v | map('batch', w, v) | list", [[1], [2], [3]], 10**6),
        ("v | map('center', w) | map('list') | list", ["a"] * 1000, 100_000),
        ("v | map(attribute='a', default=w) | list", [{}] * 10_000, LONG),
        ("v | map('default', w, true) | list", [""] * 10_000, [LONG]),
        ("v | map(attribute=w) | list", [{"a": 1}] * 1000, "a." * 100_000),
        ("v | sort(attribute=w)", [{"a": 1}] * 1000, "a," * 100_000),
        ("v | sum(attribute=w)", [{"a": 1}] * 1000, "a." * 100_000),
        ("v | groupby(w)", [{"a": 1}] * 1000, "a." * 100_000),
        ("v | select('in', w) | list", NUMBERS, [-1] * 10_000),
        ("v | map('string') | reject('in', w) | list", NUMBERS, ["a"] * 10_000),
        ("v | indent(w)", "a\r" * 10_000, 1000),
        ("v | indent(first=true, width=w)", "a\n" * 10_000, 1000),
        ("v | wordwrap(1, true, w)", "ab " * 1000, LONG),
        ("v | wordwrap(wrapstring=w)", "ab " * 100_000, LONG),
        ("v | urlize(target=w)", "a.com " * 1000, LONG),
        ("v | urlize(extra_schemes=w)", "a.com " * 1000, ["x:"] * 100_000),
        ("v | pprint", NESTED, None),
        ("v.join(w | map('string'))", LONG, NUMBERS),
        ("v.replace(w | escape, v)", LONG, "a"),
        ("(v | int(0, 16)) // (v | int(0, 16))", "f" * 10**6, None),
        ("(1).from_bytes(v.encode(), 'big')", LONG, None),
        ("v.rsplit(w, 1)[0]", "a" * 600_000, f"b{'a' * 300_000}"),
        ("v.encode().rfind(w.encode())", "a" * 600_000, f"b{'a' * 300_000}"),
        ("v.strip(w)", "b" * 1_000_000, f"{'a' * 1_000_000}b"),
        ("v | trim(w)", "b" * 1_000_000, f"{'a' * 1_000_000}b"),
        ("v.encode(w)", "\u4e00\u4e01" * 20_000, "PunyCode"),
        ("v.encode().decode(w)", LONG, "idna"),
        ("v.translate(w)", "\1" * 100_000, ["", LONG]),
        ("v ** w", Decimal("1." + "3" * 20_000), Decimal("1." + "3" * 20_000)),
        ("v ** (10**20000)", Decimal("1.5"), None),
        ("v.as_integer_ratio()", Decimal("1." + "3" * 1_000_000), None),
        ("10**20000 in w", None, [Decimal("1.5")] * 100_000),
        ("[10**20000] in w", None, [[Decimal("1.5")]] * 100_000),
        ("w.count(10**20000)", None, [Decimal("1.5")] * 100_000),
        ("([{'a': 10**20000}] + w) | max(attribute='a')", None, [{"a": Decimal("1.5")}] * 100_000),
        ("([10**20000] + w) | map('abs') | sort", None, [Decimal("1.5")] * 100_000),
    ],
)
def test_no_record_makes_an_expression_use_all_memory_or_time(
    expression: str, v: Any, w: Any
) -> None:
    started = time.process_time()
    result = value_or_error({"key": f"{{{{ {expression} }}}}"}, v=v, w=w)
    assert time.process_time() - started < 4
    assert isinstance(result, TemplateError), len(str(result))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'%(a)s-%(a)s' % {'a': 'x' * 300000}", f"{'x' * 300_000}-{'x' * 300_000}"),
        ("'%5.1f|%-3d|%%' % (2.25, 7)", "  2.2|7  |%"),
        ("'{0}-{0!r:>5}'.format('a')", "a-  'a'"),
        ("('x' * 1000000 ~ '{}').format('y' * 900000)", f"{'x' * 10**6}{'y' * 900_000}"),
        ("[1, 2, 3] | batch(2, 0) | list", [[1, 2], [3, 0]]),
        ("[1, 2, 3] | slice(2, 0) | list", [[1, 2], [3, 0]]),
        ("[[1], [2, 3]] | sum(start=[0])", [0, 1, 2, 3]),
        ("[{'a': 1}, {'a': 2}] | sum('a', 10)", 13),
        ("[[1], [2]] | map('map', 'string') | list", [["1"], ["2"]]),
        ("['b', 'a'] | select('in', ['a']) | list", ["a"]),
        ("', '.join([1, 2] | map('string'))", "1, 2"),
        ("'a b' | wordwrap(1, true, '|')", "a|b"),
        ("'a\nb' | indent(width='> ', first=true)", "> a\n> b"),
        ("[1, 1.0, true, '1', 0, '-0', -0.0, none, none] | unique | list", [1, "1", 0, "-0", None]),
        ("['a', 'A', 'b'] | unique | list", ["a", "b"]),
        ("['a', 'A', 'b'] | unique(true) | list", ["a", "A", "b"]),
        ("[{'a': 1}, {'a': 1}, {}] | unique(attribute='a') | list", [{"a": 1}, {}]),
        ("'%(Amount (EUR))s, %(a(b)(c))d' % {'Amount (EUR)': 5, 'a(b)(c)': 1}", "5, 1"),
        ("'+1 (555)'.translate({40: none, 41: '', 43: '00'})", "001 555"),
        ("'+1 (555)'.translate(''.maketrans('', '', '+ ()-'))", "1555"),
        ("'&amp;' ~ ('&' * 100000).translate({38: '&amp;'})[-1]", "&amp;;"),
        ("('-' * 1000000 ~ '-a.').rsplit('-', 1)[-1].strip('.') | trim('x')", "a"),
        ("[10 ** 400, 1.5] | max - 10 ** 400", 0),
        ("2 in [1.5, 2.0] and 10 ** 4000 not in [1.5]", True),
        ("'ff' | int(0, 16)", 255),
    ],
)
def test_a_limited_operation_gives_what_jinja_gives(expression: str, expected: Any) -> None:
    assert value_of(f"{{{{ {expression} }}}}") == expected


def test_unique_takes_linear_time_for_numbers_with_equal_hashes() -> None:
    colliding = [number * sys.hash_info.modulus for number in range(40_000)]
    started = time.process_time()
    assert value_of("{{ v | unique | list | length }}", v=colliding) == len(colliding)
    assert time.process_time() - started < 4


@given(
    st.sampled_from(FILTER_NAMES),
    json_values,
    st.lists(json_values, max_size=2),
)
def test_an_error_of_a_filter_is_named_with_its_class(
    name: str, value: Any, arguments: list[Any]
) -> None:
    names = {f"a{number}": argument for number, argument in enumerate(arguments)}
    given_arguments = f"({', '.join(names)})" if names else ""
    source = {"key": f"{{{{ x | {name}{given_arguments} }}}}"}
    result = value_or_error(source, x=value, **names)
    if isinstance(result, TemplateError):
        assert re.match(r"^key: [A-Z]\w+: ", str(result))
    else:
        assert set(result) <= {"key"}


def test_a_template_lists_its_fields() -> None:
    source = {
        "a": "{{ one }}",
        "b": "{{ record.two | lower ~ record['three'].x }}",
        "c": "{{ four.five if six else stream }}",
        "d": "plain",
    }
    template = Template(source, "orders")
    assert template.named == {"one", "two", "three", "four", "six"}
    assert template.fields == template.named
    whole = Template({**source, "e": "{{ record | tojson }}"}, "orders")
    assert (whole.named, whole.fields) == (template.named, None)


def test_an_unknown_field_is_listed_with_the_most_similar_column() -> None:
    template = Template("{{ emial | lower }}{{ id }}{{ quux }}", "orders")
    schema: dict[str, Any] = {"properties": {"email": {}, "id": {}}}
    assert unknown_fields(template, schema) == [
        ("emial", "; did you mean 'email'?"),
        ("quux", ""),
    ]
    assert unknown_fields(template, {"properties": {}}) == []


@given(texts, st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(5236, 1, 1)))  # noqa: DTZ001
def test_a_uuid1_has_its_version_and_time_and_is_deterministic(
    text: str, time: datetime.datetime
) -> None:
    plain = uuid.UUID(value_of("{{ x | uuid1 }}", x=text))
    timed = uuid.UUID(value_of("{{ x | uuid1(t) }}", x=text, t=time.isoformat()))
    assert plain.version == timed.version == 1
    assert plain.variant == timed.variant == uuid.RFC_4122
    assert (plain.node, plain.clock_seq) == (timed.node, timed.clock_seq)
    since = time - datetime.datetime(1582, 10, 15)  # noqa: DTZ001
    assert timed.time == since // datetime.timedelta(microseconds=1) * 10
    assert str(plain) == value_of("{{ (x) | uuid1 }}", x=text)
