from __future__ import annotations

import copy
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.mapping.expressions import Expression
from singer_martech.mapping.function_builder import FunctionBuilder
from singer_martech.mapping.jinja_env import ENVIRONMENT
from singer_martech.mapping.template import Template
from singer_martech.mapping.undefined import TemplateError
from singer_martech.values.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = {
    "email": "User.One@Example.com",
    "created_at": "2026-11-27T18:40:00.123Z",
    "first_name": "Ann",
    "last_name": "Lee",
    "amount": Decimal("12.345"),
    "plan": "pro",
    "age": 41,
    "active": True,
    "nothing": None,
    "empty": "",
    "tags": ["a", "b", None],
    "address": {"city": "Paris", "zip": None, "items": {"a": 1}},
}
FIELDS = [*RECORD, "absent"]
FILTERS = sorted(filter(str.isidentifier, set(ENVIRONMENT.filters) - {"random"}))
TESTS = sorted(filter(str.isidentifier, set(ENVIRONMENT.tests) - {"in"}))
METHODS = ["lower", "strip", "split", "startswith", "title", "format", "join", "items", "real"]
ATTRIBUTES = ["city", "zip", "items", "upper", "__class__", "_private", "as_tuple", "a"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "and", "or", "==", "!=", "<", ">=", "in"]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "1", "1.5", "{}", "%s", "2026-11-27", "a,b", "Ann  Lee"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=5,
)
records = st.fixed_dictionaries(
    dict.fromkeys(list(RECORD)[:5], values), optional=dict.fromkeys(list(RECORD)[5:], values)
)
literals = st.sampled_from(
    ["'a'", "''", "'%s'", "','", "'x\\'y{z}'", "0", "1", "2", "1.5", "true", "none", "stream"]
)
fields = st.sampled_from(
    [*FIELDS, *(f"record.{name}" for name in FIELDS), "record['email']", "record"]
)


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=2).map(", ".join)
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from(FILTERS)).map("({0[0]} | {0[1]})".format),
        st.tuples(inner, st.sampled_from(FILTERS), arguments).map(
            "({0[0]} | {0[1]}({0[2]}))".format
        ),
        st.tuples(inner, st.sampled_from(TESTS), inner).map("({0[0]} is {0[1]}({0[2]}))".format),
        st.tuples(inner, st.sampled_from(["defined", "none", "string", "odd", "not lower"])).map(
            "({0[0]} is {0[1]})".format
        ),
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map("({0[0]} {0[1]} {0[2]})".format),
        st.tuples(inner, st.sampled_from(METHODS), arguments).map("({0[0]}).{0[1]}({0[2]})".format),
        st.tuples(inner, st.sampled_from(METHODS)).map("({0[0]}).{0[1]}(',')".format),
        st.tuples(inner, st.sampled_from(ATTRIBUTES)).map("({0[0]}).{0[1]}".format),
        pairs.map("({0[0]})[{0[1]}]".format),
        pairs.map("({0[0]})[:{0[1]}]".format),
        st.tuples(inner, inner, inner).map("({0[0]} if {0[1]} else {0[2]})".format),
        pairs.map("({0[0]} if {0[1]})".format),
        pairs.map("({0[0]} < {0[1]} <= 3)".format),
        st.tuples(st.sampled_from(["-", "+", "not "]), inner).map("({0[0]}({0[1]}))".format),
        arguments.map("[{0}]".format),
        pairs.map("({0[0]}, {0[1]})".format),
        pairs.map("{{{0[0]}: {0[1]}}}".format),
    )


expressions = st.recursive(fields | literals, compound, max_leaves=8)


def outcome(evaluate: Callable[[], Any]) -> str:
    """Return the value with its types, or the reason of the error."""
    try:
        value = evaluate()
    except TemplateError as error:
        value = error
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def by_jinja(source: str, record: dict[str, Any]) -> str:
    names = {**record, "record": record, "stream": "s"}
    return outcome(lambda: Expression(source, "").value(names))


def compiled(source: str) -> Callable[[dict[str, Any]], Any]:
    code = FunctionBuilder("s")
    return code.function(Expression(source, "").emit(code).code)


@given(expressions, records)
@example("(5)['x']", {})
@example("5 | default(absent)", {})
@example("('a' | lower).x", {})
@example("(email or plan) ~ (email and plan)", {"email": "a"})
@example("[tags | map('upper'), tags | map('upper')]", {"tags": ["a"]})
@example("record[1]", {"email": "a"})
def test_a_compiled_expression_gives_the_value_or_the_error_of_jinja(
    source: str, record: dict[str, Any]
) -> None:
    expected = by_jinja(source, record)
    template = Template(f"{{{{ {source} }}}}", "s")
    assert outcome(lambda: template(record)) == expected
    fields = sorted(record)
    values = [record[name] for name in fields]
    assert outcome(lambda: template.of_fields(fields)(values)) == expected


USUAL = [
    "email | lower | sha256",
    "created_at | epoch_ms",
    "created_at | iso",
    "first_name ~ ' ' ~ last_name ~ age",
    "amount | round(2)",
    "amount * 100 + age",
    "-amount",
    "'a' if plan == 'pro' else 'b'",
    "'a' if age > 40 and active",
    "nothing | default('x')",
    "(absent | default(nothing)) is none",
    "address.city",
    "address['zip']",
    "address.items.a",
    "email.strip().split('@')[1]",
    "email.lower() in ['a', 'b'] or not active",
    "email[:3]",
    "tags | join(',')",
    "tags | map('upper') | list",
    "{'city': address.city, 'tags': [1, tags]}",
    "'%s-%s' | format(first_name, age)",
    "email | replace('@', '_') | trim | upper",
    "stream ~ '/' ~ email",
    "record.email | uuid1(record['created_at'])",
    "record | tojson",
    "age is divisibleby(2)",
]


@pytest.mark.parametrize("source", USUAL)
@pytest.mark.parametrize("record", [RECORD, dict.fromkeys(RECORD), {"email": "a@b"}, {"email": 5}])
def test_the_usual_expressions_are_evaluated_without_jinja(
    source: str, record: dict[str, Any]
) -> None:
    expected = by_jinja(source, record)
    try:
        value = compiled(source)(record)
    except (ArithmeticError, TypeError, ValueError):
        assert "TemplateError" in expected
    else:
        assert repr(value) == expected


ESCAPES = [
    "''.__class__.__mro__[1].__subclasses__()",
    "record.__class__.__init__.__globals__",
    "email.lower.__self__.__class__",
    "email.__class__.__base__",
    "email['__class__']",
    "email | attr('__class__')",
    "[email] | map(attribute='__class__') | list",
    "(email | lower).__class__",
    "'{0.__class__}'.format(email)",
    "'{0.__class__.__mro__}'.format(email)",
    "'{x.__class__}'.format_map({'x': email})",
    "email.format.__globals__",
    "lipsum.__globals__.os",
    "cycler.__init__.__globals__",
    "self.__init__.__globals__",
    "joiner.__init__.__globals__['__builtins__']",
    "namespace.__class__",
    "caller.__globals__",
    "(tags | map('upper')).gi_frame.f_globals",
    "(tags | map('upper')).gi_code",
    "tags.append('c')",
    "tags.clear()",
    "address.__setitem__('a', 1)",
    "given",
    "get",
    "function",
    "f0",
    "v1",
    "c0",
    "UNDEFINED",
    "__builtins__",
    "__import__('os')",
    "environment",
    "context",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_compiled_expression_reaches_nothing_that_the_sandbox_forbids(source: str) -> None:
    record = copy.deepcopy(RECORD)
    reached = outcome(lambda: compiled(source)(record))
    assert "class" not in reached
    assert "module" not in reached
    assert reached == by_jinja(source, record) or "Error" in by_jinja(source, record)
    assert record == RECORD


def test_text_of_a_template_gets_into_the_code_as_a_literal_only() -> None:
    text = "'\"}{x}\\\n) or (1"
    record = {text: text}
    key = encode(text).decode()
    source = {text: [f"{{{{ record[{key}] }}}}", f"{text}{{{{ record[{key}] ~ {key} }}}}", text]}
    assert Template(source, text)(record) == {text: [text, text + text + text, text]}
    assert Template(f"{{{{ stream ~ {key} }}}}", text)({}) == text + text


def test_a_template_within_another_keeps_its_fields_and_the_path_of_its_errors() -> None:
    inner = Template({"sum": "{{ x + 1 }}"}, "s")
    outer = Template(
        {"a": [inner], "b": "{{ y }}", "c": Template("{{ record | tojson }}", "s")}, "s"
    )
    assert (outer.named, outer.fields) == ({"x", "y"}, None)
    assert outer({"x": 1, "y": 2}) == {"a": [{"sum": 2}], "b": 2, "c": '{"x":1,"y":2}'}
    with pytest.raises(TemplateError, match=r"^sum: TypeError"):
        outer({"x": "one"})
