"""The page at `/`: received and rejected requests of each vendor, and faults."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from tests.sandbox.vendor import Section

if TYPE_CHECKING:
    from tests.sandbox.server import Sandbox
    from tests.sandbox.vendor import Vendor

_LAST_REQUESTS = 15
_LONGEST_CELL = 300

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem; color: #1b1f24; background: #fff }
h2 { margin-top: 2.5rem; border-bottom: 2px solid #1b1f24 }
h3 { margin: 1.4rem 0 .3rem }
table { border-collapse: collapse; width: 100%; font-size: 13px }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem;
  border-bottom: 1px solid #d5d9de; overflow-wrap: anywhere }
th { background: #f3f4f6 }
code { font-size: 12px }
.note, .none { color: #59636e }
@media (prefers-color-scheme: dark) {
  body { background: #16191d; color: #e3e6ea } h2 { border-color: #e3e6ea }
  th { background: #24292f } th, td { border-color: #3a4149 } .note, .none { color: #a0a8b1 } }
"""


def render_page(sandbox: Sandbox) -> str:
    """Return the page as self-contained HTML."""
    vendors = list(sandbox.vendors.values())
    links = " · ".join(f'<a href="#{item.name}">{item.name}</a>' for item in vendors)
    faults = sandbox.faults.as_list()
    plan = Section(
        "Fault plan",
        ("vendor", "path", "fault", "times", "served"),
        [tuple(fault.values()) for fault in faults],
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sandbox</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style><h1>Sandbox</h1>"
        f"<p>Four vendors' APIs at <code>{escape(sandbox.url)}</code>, seed {sandbox.seed}.</p>"
        f"<p>{links}</p>{_table(plan)}{''.join(_vendor(item) for item in vendors)}</html>"
    )


def _vendor(vendor: Vendor) -> str:
    requests = list(vendor.requests)
    rejected = [item for item in requests if item.status is not None and item.status >= 400]
    faulty = [item for item in requests if item.fault is not None]
    counts = f"{len(requests)} requests, {len(rejected)} rejected, {len(faulty)} with a fault"
    sections = [
        *vendor.sections(),
        Section("Last requests", _REQUEST_COLUMNS, _requests(requests)),
        Section("Last rejections", _REQUEST_COLUMNS, _requests(rejected)),
        Section("Last faults served", _REQUEST_COLUMNS, _requests(faulty)),
    ]
    return (
        f'<h2 id="{vendor.name}">{vendor.name}</h2>'
        f'<p><code>{escape(vendor.api_url)}</code><br><span class="note">{counts}</span></p>'
        f"{''.join(_table(section) for section in sections)}"
    )


_REQUEST_COLUMNS = ("number", "request", "parameters", "bytes", "status", "fault", "ms")


def _requests(requests: list[Any]) -> list[tuple[Any, ...]]:
    rows = []
    for request in reversed(requests[-_LAST_REQUESTS:]):
        shown = request.as_dict()
        seconds = shown["seconds"]
        rows.append(
            (
                shown["number"],
                f"{shown['method']} {shown['path']}",
                ", ".join(f"{name}={value}" for name, value in shown["parameters"].items()),
                shown["size"],
                shown["status"],
                shown["fault"],
                None if seconds is None else round(seconds * 1000, 1),
            ),
        )
    return rows


def _table(section: Section) -> str:
    title = f"<h3>{escape(section.title)}</h3>"
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    if not section.rows:
        return f'{title}{note}<p class="none">none</p>'
    head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
        for row in section.rows
    )
    return f"{title}{note}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = str(value)
    if len(text) > _LONGEST_CELL:
        text = text[:_LONGEST_CELL] + " …"
    return escape(text)
