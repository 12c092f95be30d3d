"""The comparisons: subjects and their inputs."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.inputs import DAY
from bench.loads import Loads, mona_config
from bench.measure import Comparison, Subject, config_file, tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.inputs import Inputs

SUBJECTS = Path(__file__).parent / "subjects"
PLUGINS = (
    "tap-robotmia",
    "tap-mediarithmics",
    "target-mona",
    "target-monetate",
    "target-mediarithmics",
)
_MANY = 10
"""Numbers of days, to show that time grows linearly and memory does not."""

_PIPELINE, _PLAIN_PIPELINE = 25, 5
"""Numbers of days. Enough that the start does not dominate; the plain plugins take much longer."""


class Bench:
    """Builds the commands.

    Args:
        folder: The folder for configurations.
        server: The address of the local server.
        inputs: The input files.
        others: The Python of the environment with the alternatives.
    """

    def __init__(self, folder: Path, server: str, inputs: Inputs, others: Path) -> None:
        """Create a builder; nothing is written yet."""
        self._folder = folder
        self._server = server
        self._inputs = inputs
        self._others = others

    def comparisons(self) -> list[Comparison]:
        """Return all comparisons."""
        return [
            self.extract_events(),
            self.extract_many_events(),
            *Loads(self._folder, self._server, self._inputs).comparisons(),
            self.read_result(),
            self.pipeline(),
            self.start_up(),
        ]

    def extract_events(self) -> Comparison:
        """tap-robotmia and other readers of the same body."""
        subjects = [self._tap_robotmia(1), self._floor(1), self._plain_tap(), self._mixpanel()]
        return Comparison("Extract events from a local server", "events", subjects)

    def extract_many_events(self) -> Comparison:
        """tap-robotmia and the floor, with an input for which start-up is negligible."""
        title = f"Extract {_MANY} times as many"
        return Comparison(title, "events", [self._tap_robotmia(_MANY), self._floor(_MANY)])

    def read_result(self) -> Comparison:
        """tap-mediarithmics on a large result."""
        schema = {"type": "object", "properties": {"id": {"type": ["null", "string"]}}}
        config = {
            "api_url": f"{self._server}/mediarithmics",
            "api_token": "api:bench",
            "organisation_id": "1",
            "exports": [{"stream": "users", "export_id": "1", "schema": schema}],
        }
        catalog = self._discovered("tap-mediarithmics", config, ["users"])
        command = [
            tool("tap-mediarithmics"),
            "--config",
            config_file(self._folder, config),
            "--catalog",
            catalog,
        ]
        return Comparison(
            "Read the result of a query export",
            "lines",
            [Subject("tap-mediarithmics", command, self._inputs.result_lines)],
        )

    def pipeline(self) -> Comparison:
        """A whole ``meltano run``: through the pipe, in BATCH files, and with plain plugins."""
        project = self._folder / "project"
        project.mkdir(exist_ok=True)
        export = {"url": self._export(_PLAIN_PIPELINE)}
        post = {"url": f"{self._server}/0/mona/export"}
        batches = {
            "batch_config": {
                "encoding": {"format": "jsonl", "compression": "gzip"},
                "storage": {"root": str(self._folder / "batches")},
            }
        }
        tap, target = tool("tap-robotmia"), tool("target-mona")
        tap_config, target_config = self._robotmia_config(_PIPELINE), mona_config(self._server)
        extractors = [
            _plugin("tap-robotmia", tap, tap_config),
            _plugin("tap-robotmia-batch", tap, {**tap_config, **batches}),
            _plugin("tap-plain", self._wrapper("plain_tap"), export),
        ]
        loaders = [
            _plugin("target-mona", target, target_config),
            _plugin("target-mona-batch", target, {**target_config, **batches}),
            _plugin("target-plain", self._wrapper("plain_target"), post),
        ]
        meltano = {
            "default_environment": "bench",
            "environments": [{"name": "bench"}],
            "plugins": {"extractors": extractors, "loaders": loaders},
        }
        (project / "meltano.yml").write_text(json.dumps(meltano))
        return Comparison(
            "A whole `meltano run`",
            "events",
            [
                self._meltano_run(project, "tap-robotmia", "target-mona", _PIPELINE),
                self._meltano_run(project, "tap-robotmia-batch", "target-mona-batch", _PIPELINE),
                self._meltano_run(project, "tap-plain", "target-plain", _PLAIN_PIPELINE),
            ],
        )

    def _meltano_run(self, project: Path, tap: str, target: str, days: int) -> Subject:
        return Subject(
            f"{tap} {target}",
            [tool("meltano"), "run", "--force", "--full-refresh", tap, target],
            self._inputs.events * days,
            environment={"MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false"},
            folder=project,
        )

    def start_up(self) -> Comparison:
        """The time that a plugin takes for ``--version`` or ``--about``."""
        starts = [
            Subject(f"{name} {option}", [tool(name), option], 1)
            for name in PLUGINS
            for option in ("--version", "--about")
        ]
        bare = Subject("import singer_sdk", [sys.executable, "-c", "import singer_sdk"], 1)
        return Comparison("Start-up", "starts", [bare, *starts])

    def _tap_robotmia(self, times: int) -> Subject:
        config = config_file(self._folder, self._robotmia_config(times))
        command = [tool("tap-robotmia"), "--config", config]
        return Subject("tap-robotmia", command, self._inputs.events * times)

    def _robotmia_config(self, days: int) -> dict[str, Any]:
        return {
            "api_url": f"{self._server}/1/robotmia",
            "api_secret": "bench-secret",
            "project_timezone": "Europe/Paris",
            "start_date": (DAY - datetime.timedelta(days=days - 1)).isoformat(),
            "end_date": DAY.isoformat(),
        }

    def _export(self, times: int) -> str:
        return f"{self._server}/{times}/mixpanel/api/2.0/export"

    def _floor(self, times: int) -> Subject:
        command = [str(self._others), str(SUBJECTS / "floor.py"), self._export(times)]
        return Subject("floor: inflate, parse, re-encode", command, self._inputs.events * times)

    def _plain_tap(self) -> Subject:
        config = config_file(self._folder, {"url": self._export(1)})
        command = [sys.executable, str(SUBJECTS / "plain_tap.py"), "--config", config]
        return Subject("plain singer-sdk tap", command, self._inputs.events)

    def _mixpanel(self) -> Subject:
        config = {
            "api_secret": "bench-secret",
            "project_timezone": "UTC",
            "attribution_window": "0",
            "user_agent": "bench",
            "start_date": f"{DAY}T00:00:00Z",
            "end_date": f"{DAY + datetime.timedelta(days=1)}T00:00:00Z",
            "select_properties_by_default": "true",
        }
        catalog = self._folder / "mixpanel-catalog.json"
        catalog.write_text(json.dumps(_MIXPANEL_CATALOG))
        command = [
            str(self._others),
            str(SUBJECTS / "mixpanel.py"),
            "--config",
            config_file(self._folder, config),
            "--catalog",
            str(catalog),
        ]
        environment = {"BENCH_SERVER": f"{self._server}/1"}
        return Subject("tap-mixpanel 1.8.0", command, self._inputs.events, None, environment)

    def _discovered(self, name: str, config: Mapping[str, Any], streams: Sequence[str]) -> str:
        """Discover a catalog and select only ``streams``."""
        command = [tool(name), "--config", config_file(self._folder, config), "--discover"]
        found = subprocess.run(command, check=True, capture_output=True)
        catalog = json.loads(found.stdout)
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
        path = self._folder / f"{name}-catalog.json"
        path.write_text(json.dumps(catalog))
        return str(path)

    def _wrapper(self, module: str) -> str:
        """Return an executable that runs a subject, since Meltano requires a single file."""
        path = self._folder / module
        subject = str(SUBJECTS / f"{module}.py")
        run = f"import runpy\nrunpy.run_path({subject!r}, run_name='__main__')\n"
        path.write_text(f"#!{sys.executable}\n{run}")
        path.chmod(0o755)
        return str(path)


_MIXPANEL_CATALOG = {
    "streams": [
        {
            "tap_stream_id": "export",
            "stream": "export",
            "key_properties": ["event", "time", "distinct_id"],
            "schema": {
                "type": ["null", "object"],
                "additionalProperties": True,
                "properties": {
                    "event": {"type": ["null", "string"]},
                    "time": {"type": ["null", "string"], "format": "date-time"},
                    "distinct_id": {"type": ["null", "string"]},
                },
            },
            "metadata": [
                {
                    "breadcrumb": [],
                    "metadata": {
                        "selected": True,
                        "table-key-properties": ["event", "time", "distinct_id"],
                        "valid-replication-keys": ["time"],
                        "forced-replication-method": "INCREMENTAL",
                    },
                },
            ],
        }
    ]
}


def _plugin(name: str, executable: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": name.replace("-", "_"),
        "executable": executable,
        "capabilities": ["catalog", "discover", "state"] if name.startswith("tap") else [],
        "settings": [{"name": key} for key in config],
        "config": dict(config),
    }
