"""Every recipe in docs/recipes works with the lines that its page shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipelines.meltano import ROOT
from tests.pipelines.pipelines import rows
from tests.pipelines.postgres import connected, postgres
from tests.pipelines.recipe import PAGES, Recipe, RecipeRunner
from tools.settings import DOCS, PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.server import Sandbox

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def recipe_runner(tmp_path_factory: pytest.TempPathFactory) -> RecipeRunner:
    return RecipeRunner(tmp_path_factory.mktemp("recipes"))


def event(name: str, day: date) -> dict[str, Any]:
    raw_time = datetime(day.year, day.month, day.day, 1, tzinfo=timezone.utc).timestamp()
    properties = {"time": int(raw_time), "distinct_id": f"visitor-{name}", "$insert_id": name}
    return {"event": "Order Completed", "properties": properties}


def days_ago(sandbox: Sandbox, days: int) -> date:
    today: date = sandbox.robotmia.today
    return today - timedelta(days=days)


def set_events(sandbox: Sandbox, **ages: int) -> None:
    """Set one event per name; the value is its age in days."""
    sandbox.robotmia.set_events(event(name, days_ago(sandbox, days)) for name, days in ages.items())


def in_warehouse(recipe_runner: RecipeRunner) -> list[str]:
    loaded = rows(recipe_runner.warehouse, "tap_robotmia.events")
    return sorted(row["insert_id"] for row in loaded)


def test_every_recipe_is_tested_and_linked() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tests = globals()
    for page in PAGES.glob("*.md"):
        assert f"docs/recipes/{page.name}" in readme
        assert f"test_{page.stem.replace('-', '_')}" in tests


def test_the_excerpt_of_the_readme(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    page = Recipe.read_page(ROOT / "README.md", "## Use it in your Meltano project")
    recipe_runner.prepare(page.excerpt)
    added, commands = page.commands
    assert added == "".join(added_by(plugin) for plugin in ("tap-robotmia", "target-mona"))
    export, _, commands = commands.partition("\n")
    assert export.startswith("export ")  # the page says what replaces it for the sandbox
    output = recipe_runner.run(
        commands,
        sandbox,
        TAP_ROBOTMIA_START_DATE=days_ago(sandbox, 2).isoformat(),
        TARGET_MONA_SUMMARY_PATH=str(recipe_runner.folder / "summaries"),
    )
    assert output.count("✓") >= 6
    assert "✗" not in output
    (report,) = Recipe.read_page(ROOT / "README.md", "## Report of runs").commands
    recipe_runner.run(report, sandbox)
    assert (recipe_runner.folder / "report.html").is_file()
    loaded = sandbox.mona.records()
    assert {arc_class for arc_class, _ in loaded} == {"SHOP_EVENT"}
    # the sandbox's ordinary events: some have no distinct_id
    assert any(record.get("distinct_id") is None for record in loaded.values())


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_start_of_the_page_of_a_plugin(
    recipe_runner: RecipeRunner, sandbox: Sandbox, plugin: str
) -> None:
    page = DOCS / f"{plugin}.md"
    start = Recipe.read_page(page, "## Start")
    recipe_runner.prepare(start.excerpt)
    key = recipe_runner.folder / "monetate.pem"  # the page creates one that Monetate knows
    key.write_text(sandbox.monetate.credentials()["private_key"], encoding="utf-8")
    added, check = start.commands
    assert added == added_by(plugin)
    lines = [
        line for line in recipe_runner.run(check, sandbox).splitlines() if line[:1] in {"✓", "✗"}
    ]
    assert lines[0] == "✓ settings"
    assert [line for line in lines if line.startswith("✗")] == []
    if "\n```\n✓ " in page.read_text(encoding="utf-8"):
        assert "\n```\n" + "\n".join(lines) + "\n```\n" in page.read_text(encoding="utf-8")


def added_by(plugin: str) -> str:
    """Return the command that adds a plugin, as the pages print it."""
    return f"meltano add {plugin} --from-ref /path/to/singer-martech/dist/hub/{plugin}.yml\n"


def test_warehouse_and_mona(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("warehouse-and-mona")
    recipe_runner.prepare(recipe.excerpt)
    set_events(sandbox, a=9, b=1)
    (command,) = recipe.commands
    recipe_runner.run(command, sandbox)
    sandbox.robotmia.add_event(event("late", days_ago(sandbox, 4)))
    recipe_runner.run(command, sandbox)
    assert in_warehouse(recipe_runner) == ["a", "b", "late"]
    in_mona = sandbox.mona.records()
    assert len(in_mona) == 3
    assert {arc_class for arc_class, _ in in_mona} == {"SHOP_EVENT"}


def test_back_filling(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("back-filling")
    recipe_runner.prepare(recipe.excerpt)
    sandbox.robotmia.set_events(
        event(day.isoformat(), day)
        for day in (date(2024, 12, 31), date(2025, 1, 1), date(2025, 12, 31), date(2026, 1, 1))
    )
    recipe_runner.run(recipe.commands[0], sandbox)
    assert in_warehouse(recipe_runner) == ["2025-01-01", "2025-12-31"]
    assert len(sandbox.robotmia.exports) == 53
    states = recipe_runner.run("meltano state list", sandbox)
    assert "tap-robotmia-to-target-duckdb:2025" in states


def test_sql_to_monetate(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("sql-to-monetate")
    recipe_runner.prepare(recipe.excerpt)
    table = """
        CREATE TABLE customers (id integer PRIMARY KEY, email text, city text, points integer,
          newsletter boolean, interests text[], updated_at timestamptz);
        INSERT INTO customers VALUES
          (1, 'ada@shop.example', 'Köln', 12, true, '{shoes,bags}', '2026-01-01T00:00:00Z'),
          (2, 'bo@shop.example', NULL, 0, false, NULL, '2026-01-02T00:00:00Z');
    """
    with postgres(table) as access:
        settings = {f"TAP_POSTGRES_{name.upper()}": value for name, value in access.items()}
        recipe_runner.run(recipe.commands[0], sandbox, **settings)
    loaded = {row["customer_id"]: row for row in sandbox.monetate.rows("customer_attributes")}
    assert set(loaded) == {"1", "2"}
    assert loaded["1"]["city"] == "Köln"
    assert loaded["1"]["interests"] == "shoes,bags"
    assert (loaded["2"]["loyalty_points"], loaded["2"]["newsletter"]) == (0, False)


def test_into_mediarithmics(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("into-mediarithmics")
    recipe_runner.prepare(recipe.excerpt)
    (recipe_runner.folder / "crm").mkdir()
    (recipe_runner.folder / "crm" / "customers.csv").write_text(
        "customer_id,first_name,city\nC1,Ada,Paris\nC2,Bo,Lyon\n"
    )
    (recipe_runner.folder / "crm" / "newsletter.csv").write_text("email\nAda@shop.example\n")
    set_events(sandbox, a=2, b=1)
    recipe_runner.run(recipe.commands[0], sandbox)
    activities = sandbox.mediarithmics.activities()
    assert sorted(each["$user_account_id"] for each in activities) == ["visitor-a", "visitor-b"]
    profiles = sandbox.mediarithmics.profiles().values()
    assert sorted(profile["city"] for profile in profiles) == ["Lyon", "Paris"]
    digest = sha256(b"ada@shop.example").hexdigest()
    assert sandbox.mediarithmics.members("newsletter") == {f"email_hash={digest}": 43200}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="not for this Python")
def test_keep_an_audience_in_step(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("keep-an-audience-in-step")
    (extractor,) = recipe.excerpt["plugins"]["extractors"]
    extractor["python"] = sys.executable
    recipe_runner.prepare(recipe.excerpt)
    table = """
        CREATE TABLE subscribers (email text PRIMARY KEY);
        INSERT INTO subscribers SELECT n || '@shop.example' FROM generate_series(1, 20) n;
    """
    with postgres(table) as access:
        settings = {f"TAP_POSTGRES_{name.upper()}": value for name, value in access.items()}
        settings["TAP_POSTGRES_DBNAME"] = access["database"]
        recipe_runner.run(recipe.commands[0], sandbox, **settings)
        assert len(sandbox.mediarithmics.members("newsletter")) == 20
        with connected(access) as connection:
            connection.execute("DELETE FROM subscribers WHERE email = '7@shop.example'")
        output = recipe_runner.run(recipe.commands[0], sandbox, **settings)
    assert len(sandbox.mediarithmics.members("newsletter")) == 19
    assert len(sandbox.mediarithmics.documents()) == 21
    assert '"unchanged": 19' in output
    shown = recipe_runner.run(recipe.commands[1], sandbox)
    assert "stream 'public-subscribers'" in shown
    assert "19 keys, no damage found" in shown


def test_export_to_duckdb(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("export-to-duckdb")
    recipe_runner.prepare(recipe.excerpt)

    def execute(*cities: str) -> None:
        lines = [
            json.dumps({"id": f"p{n}", "profiles": [{"city": c}]}) for n, c in enumerate(cities)
        ]
        sandbox.mediarithmics.set_result("9801", [("\n".join(lines) + "\n").encode()])
        sandbox.mediarithmics.add_execution("9801")

    execute("Köln", "Paris")
    recipe_runner.run(recipe.commands[0], sandbox)
    execute("Lyon")
    recipe_runner.run(recipe.commands[0], sandbox)
    loaded = rows(recipe_runner.warehouse, "tap_mediarithmics.customers")
    cities = {row["id"]: json.loads(row["profiles"])[0]["city"] for row in loaded}
    assert {"p0": "Lyon", "p1": "Paris"}.items() <= cities.items()


def test_scheduling(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("scheduling")
    recipe_runner.prepare(recipe.excerpt)
    set_events(sandbox, a=1)
    output = recipe_runner.run(recipe.commands[0], sandbox)
    assert "events-every-hour" in output
    assert len(sandbox.mona.records()) == 1


def test_shared_state(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("shared-state")
    recipe_runner.prepare(recipe.excerpt)
    set_events(sandbox, a=20, b=1)
    output = recipe_runner.run(recipe.commands[0], sandbox)
    assert "tap-robotmia-to-target-mona" in output
    sent = len(sandbox.mona.messages())
    # as on another machine, which has only the shared folder
    (recipe_runner.folder / ".meltano" / "meltano.db").unlink()
    recipe_runner.run(recipe.commands[0], sandbox)
    assert len(sandbox.mona.messages()) == sent + 1


def test_shared_state_in_a_database(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    load = Recipe.read("shared-state").commands[0]
    set_events(sandbox, a=20, b=1)
    with postgres("SELECT 1;") as access:
        place = f"{access['user']}@{access['host']}:{access['port']}/{access['database']}"
        uri = f"postgresql+psycopg://{place}"
        for sent in (2, 3):  # the second machine repeats only the look-back days
            recipe_runner.prepare()
            recipe_runner.run(load, sandbox, MELTANO_DATABASE_URI=uri)
            assert len(sandbox.mona.messages()) == sent
            assert not (recipe_runner.folder / ".meltano" / "meltano.db").exists()


def test_replaying_rejects(recipe_runner: RecipeRunner, sandbox: Sandbox) -> None:
    recipe = Recipe.read("replaying-rejects")
    recipe_runner.prepare(recipe.excerpt)
    set_events(sandbox, a=2, b=1)
    sandbox.faults.add("mona", path="/export", status=400, body={"topLevelError": "no space left"})
    sandbox.faults.add(
        "mona", path="/export", after=1, status=400, body={"topLevelError": "no space left"}
    )
    load, replay = recipe.commands
    output = recipe_runner.run(load, sandbox)
    assert "no space left" in output
    assert len(sandbox.mona.records()) == 1
    recipe_runner.run(replay, sandbox)
    assert len(sandbox.mona.records()) == 2
    assert len(list((recipe_runner.folder / "summaries").glob("*.json"))) == 2


def test_without_an_account(tmp_path: Path) -> None:
    serve, use = Recipe.read("without-an-account").commands
    for name in ("Makefile", "tests", ".venv", "pyproject.toml", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "meltano.yml").write_bytes((ROOT / "meltano.yml").read_bytes())
    # the installation is not part of this test
    serve = serve.replace("make ", "make --old-file=.venv/.installed ")
    sandbox = subprocess.Popen(
        ["bash", "-c", f"exec {serve}"],
        cwd=tmp_path,
        # as in a shell, even if make runs these tests
        env={key: text for key, text in os.environ.items() if not key.startswith(("MAKE", "MFL"))},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert sandbox.stdout
    try:
        assert "listens at http://127.0.0.1:" in sandbox.stdout.readline()
        sandbox.stdout.readline()
        # for a project in any folder
        assert sandbox.stdout.readline() == f"  set -a; . {tmp_path}/.demo/sandbox.env; set +a\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", use],
            cwd=tmp_path,
            env={key: text for key, text in os.environ.items() if not key.startswith("T")},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert '"delivered": 0' not in done.stderr
        assert '"delivered": ' in done.stderr
    finally:
        os.killpg(sandbox.pid, signal.SIGINT)
        sandbox.communicate()
