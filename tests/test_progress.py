"""What a Controller tells while it works, and the bar that the command line makes of it."""

from __future__ import annotations

import json
import re
import time
from itertools import groupby
from pathlib import Path

import pytest
from plane import DictBackend
from pseudoterminal import DUMB, WELCOME, environment, on_a_terminal, terminal
from shell import Shell

from vipnet.cli import progress as module
from vipnet.cli.progress import watched
from vipnet.cli.settings import OutputFormat, Settings
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.store import MemoryStore

GROUPS = 300


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None:
        self.heard.append((stage, done, total))

    @property
    def stages(self) -> list[str]:
        return [stage for stage, _ in groupby(self.heard, key=lambda heard: heard[0])]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes a moment to import."""
    path = tmp_path_factory.mktemp("document") / "model.json"
    with Controller.open(store="memory:", backend="simulator") as cloud:
        with cloud.transaction() as tx:
            tx.networks.create("pub", "20.0.0.0/16", server_type="eip")
            tx.vpcs.create("v", "10.0.0.0/8")
            tx.networks.create("n", "10.0.0.0/16", vpc="v")
            for number in range(GROUPS):
                tx.groups.create(f"g{number}")
                tx.groups.attach_network(f"g{number}", network_id="n")
                tx.groups.create_eip(f"g{number}", bandwidth=10)
        path.write_text(json.dumps(cloud.export()), encoding="utf-8")
    return path


class TestController:
    def test_an_import(self, document: Path) -> None:
        told = Listener()
        with Controller.open(store="memory:", backend="simulator", progress=told) as cloud:
            cloud.import_topology(json.loads(document.read_text()))
        stages = told.stages
        for earlier, later in (
            ("reading the store", "reading eips"),
            ("reading eips", "taking in vpcs"),
            ("taking in addresses", "checking the model"),
            ("checking the model", "working out the change"),
            ("working out the change", "storing the change"),
            ("storing the change", "programming the data plane"),
        ):
            assert stages.index(earlier) < stages.index(later)
        counted = [(done, total) for stage, done, total in told.heard if stage == "taking in eips"]
        assert counted == [(done, GROUPS) for done in range(1, GROUPS + 1)]

    def test_the_other_roads(self) -> None:
        told = Listener()
        world = World(progress=told)
        with Controller(config=Config(), store=MemoryStore(), backend=DictBackend(), world=world) as cloud:
            cloud.vpcs.create("v", "10.0.0.0/8")
            for look in (cloud.plan, cloud.status):
                told.heard.clear()
                look()
                assert told.stages == ["comparing with the data plane"]
            told.heard.clear()
            cloud.apply(audit=True)
            assert told.stages == ["comparing with the data plane, programming what differs"]


def settings(output: OutputFormat = "table") -> Settings:
    return Settings(config=None, store=None, backend=None, output=output, dry_run=False)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AFTER", 0.01)


def drawn(sent: list[bytes]) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(sent).decode())


class TestBar:
    def _shown(self, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], output: OutputFormat = "table") -> list[bytes]:
        """What the terminal behind stderr is sent in a second of work."""
        with environment(values), terminal(100) as (stream, sent), monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            with watched(settings(output)) as tell:
                for number in range(1, 11):
                    if tell is not None:
                        tell("taking in eips", number * 1000, 10_000)
                    time.sleep(0.1)
        return sent

    @pytest.mark.usefixtures("hasty")
    def test_how_far_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent = self._shown(monkeypatch, WELCOME)
        counts = [int(done.replace(",", "")) for done in re.findall(r"taking in eips \S+ +([\d,]+)/10,000", drawn(sent))]
        assert len(counts) > 3
        assert counts == sorted(counts)
        assert b"".join(sent).endswith((b"\x1b[2K", b"\x1b[?25h"))  # the line is cleared, the cursor there

    @pytest.mark.usefixtures("hasty")
    def test_without_colours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent = self._shown(monkeypatch, {"NO_COLOR": "1", **WELCOME})
        assert "taking in eips" in drawn(sent)
        assert b"".join(sent).count(b"\x1b[3") == 0

    @pytest.mark.usefixtures("hasty")
    @pytest.mark.parametrize(("values", "output"), [(WELCOME, "json"), (DUMB, "table")])
    def test_not_where_it_disturbs(self, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], output: OutputFormat) -> None:
        assert self._shown(monkeypatch, values, output) == []

    def test_not_for_what_is_quick(self, worked_example: Shell) -> None:
        assert worked_example is not None
        sent = on_a_terminal(["groupnetwork-list"], {"NO_COLOR": "1", **WELCOME})
        assert sent.split()[:2] == ["group", "network"]


@pytest.mark.usefixtures("hasty")
class TestCommands:
    @pytest.mark.usefixtures("vipnet")
    def test_an_import(self, document: Path) -> None:
        imported = on_a_terminal(["import", str(document)], {"NO_COLOR": "1", **WELCOME})
        before, _, table = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", imported).rpartition("field ")
        assert re.search(r"(working|reading|taking in|checking|storing|programming)[\w ]* ━", before)
        assert re.search(rf"^ ?eips +{GROUPS}$", table, re.MULTILINE)

    def test_a_pipe_gets_nothing_of_it(self, vipnet: Shell, document: Path) -> None:
        answer = vipnet("import", str(document))
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.startswith("field ")
        assert vipnet.json("plan")["empty"] is True
