from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any, get_args

import pytest
from answers import misfits
from shell import Shell

from vipnet.cli.answers import shapes
from vipnet.cli.declare import Verb
from vipnet.cli.verbs import SECTIONS
from vipnet.controller import Controller
from vipnet.documents import Format
from vipnet.errors import DataplaneError
from vipnet.lab.demo import Check, DemoReport
from vipnet.model import AccessMode, AllocDir, ChargeType, ServerType
from vipnet.picture import FORMATS

_VERBS = [verb for section in SECTIONS for verb in section.verbs]
_LIBRARY_VERBS = [verb for verb in _VERBS if isinstance(verb.call, str)]


def _verb(name: str) -> Verb:
    return next(verb for verb in _VERBS if verb.name == name)


class TestUsage:
    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("vpc-creat a 10.0.0.0/8", "No such command 'vpc-creat'. Did you mean 'vpc-create'?"),
            ("vpc-create a", "Missing argument 'CIDR'."),
            ("vpc-create a 10.0.0.0/8 more", "Got unexpected extra argument (more)"),
            ("vpc-create a 10.0.0.0/8 --cidr7 x", "No such option"),
            ("vpc-create a 10.0.0.0/8 --cidr6", "Option '--cidr6' requires an argument."),
            ("network-reserve-ip web notes", "Missing argument 'IP'."),
            ("instancegroup-attachnetwork nginx --reserved=yes", "Option '--reserved' does not take a value."),
            ("-o xml vpc-list", "'xml' is not one of 'table', 'json'"),
            ("--nosuch vpc-list", "No such option"),
        ],
    )
    def test_what_is_wrong_is_said_on_stderr(self, vipnet: Shell, line: str, said: str) -> None:
        answer = vipnet(*line.split())
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err
        assert "Usage: vipnet" in answer.err

    def test_nothing_at_all_is_answered_with_the_help(self, vipnet: Shell) -> None:
        answer = vipnet()
        assert answer.code == 2
        assert "vpc-create" in answer.err

    def test_options_in_any_position_and_spelling(self, vipnet: Shell) -> None:
        first = vipnet.json("vpc-create", "--external-access-mode", "none", "a", "10.0.0.0/8")
        second = vipnet.json("vpc-create", "b", "--external-access-mode=none", "10.0.0.0/8")
        assert first["external_access_mode"] == second["external_access_mode"] == "none"


class TestHelp:
    def test_commands_stand_under_their_nouns(self, vipnet: Shell) -> None:
        answer = vipnet("--help")
        assert answer.code == 0
        sections = re.split(r"^(\S[^\n]*):\n", answer.out, flags=re.MULTILINE)
        found = dict(zip(sections[1::2], sections[2::2], strict=True))
        for section in SECTIONS:
            assert re.findall(r"^  (\w[\w-]+)  ", found[section.title], re.MULTILINE) == [verb.name for verb in section.verbs]

    def test_every_exit_status_is_explained(self, vipnet: Shell) -> None:
        assert re.findall(r"^ {4}(\d+) ", vipnet("--help").out, re.MULTILINE) == ["0", "1", "2", "3", "4", "70"]

    @pytest.mark.parametrize("verb", _VERBS, ids=lambda verb: verb.name)
    def test_every_command_has_its_own(self, vipnet: Shell, verb: Verb) -> None:
        answer = vipnet(verb.name, "--help")
        assert answer.code == 0
        assert f"Example: vipnet {verb.example}" in answer.out
        assert verb.example.split()[0] == verb.name
        assert all(option.flag in answer.out for option in verb.options)


class TestDeclaration:
    @pytest.mark.parametrize("verb", _LIBRARY_VERBS, ids=lambda verb: verb.name)
    def test_the_library_takes_what_a_command_hands_over(self, verb: Verb) -> None:
        with Controller.open(store="memory:", backend="simulator") as cloud:
            method = attrgetter(str(verb.call))(cloud)
            inspect.signature(method).bind(*verb.arguments, **{option.keyword: None for option in verb.options})
            if verb.changes:
                with cloud.transaction(dry_run=True) as tx:
                    assert callable(attrgetter(str(verb.call))(tx))

    @pytest.mark.parametrize("verb", _LIBRARY_VERBS, ids=lambda verb: verb.name)
    def test_a_command_hands_over_no_more_than_is_asked_for(self, verb: Verb) -> None:
        with Controller.open(store="memory:", backend="simulator") as cloud:
            method = attrgetter(str(verb.call))(cloud)
            given: dict[str, Any] = {option.keyword: [] for option in verb.options if option.always or option.required}
            inspect.signature(method).bind(*verb.arguments, **given)

    @pytest.mark.parametrize(
        ("name", "flag", "words"),
        [
            ("vpc-create", "--external-access-mode", get_args(AccessMode)),
            ("network-create", "--alloc-policy", get_args(AllocDir)),
            ("network-update", "--alloc-policy", get_args(AllocDir)),
            ("network-create", "--server-type", get_args(ServerType)),
            ("instancegroup-create", "--force-dispersion", ("yes", "no")),
            ("instancegroup-update", "--force-dispersion", ("yes", "no")),
            ("instancegroup-attachnetwork", "--alloc-dir", get_args(AllocDir)),
            ("instancegroup-create-eip", "--charge-type", get_args(ChargeType)),
            ("eip-create", "--charge-type", get_args(ChargeType)),
            ("topology-show", "--format", tuple(FORMATS)),
            ("export", "--format", get_args(Format)),
        ],
    )
    def test_the_words_of_an_option_are_the_librarys(self, name: str, flag: str, words: tuple[str, ...]) -> None:
        (option,) = (option for option in _verb(name).options if option.flag == flag)
        assert sorted(option.metavar.split("|")) == sorted(words)

    def test_names_are_unique(self) -> None:
        names = [verb.name for verb in _VERBS]
        assert len(names) == len(set(names))


class TestPrecedence:
    def test_of_the_backend(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        config = vipnet.config('backend = "of-the-file"')
        assert "backend 'of-the-file' is not installed" in vipnet("--config", config, "vpc-list").err
        monkeypatch.setenv("VIPNET_CONFIG", config)
        assert "backend 'of-the-file' is not installed" in vipnet("vpc-list").err
        monkeypatch.setenv("VIPNET_BACKEND", "of-the-environment")
        assert "backend 'of-the-environment' is not installed" in vipnet("vpc-list").err
        assert "backend 'of-the-option' is not installed" in vipnet("--backend", "of-the-option", "vpc-list").err

    def test_of_the_store(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        stores = {name: f"sqlite:///{vipnet.folder / name}.db" for name in ("file", "environment", "option")}
        assert str(vipnet.folder / ".local/state/vipnet/vipnet.db") in vipnet.json("status")["store"]
        monkeypatch.setenv("VIPNET_CONFIG", vipnet.config(f'store = "{stores["file"]}"'))
        assert vipnet.json("status")["store"] == stores["file"]
        monkeypatch.setenv("VIPNET_STORE", stores["environment"])
        assert vipnet.json("status")["store"] == stores["environment"]
        assert vipnet.json("--store", stores["option"], "status")["store"] == stores["option"]

    def test_of_the_output(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        assert vipnet("host-list").out == "name  zone\n"
        monkeypatch.setenv("VIPNET_OUTPUT", "json")
        assert vipnet("host-list").out == "[]\n"
        assert vipnet("-o", "table", "host-list").out == "name  zone\n"
        assert vipnet("-o", "table", "host-list", "-o", "json").out == "[]\n"

    def test_of_the_dry_run(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIPNET_DRY_RUN", "1")
        assert set(vipnet.json("host-create", "h1")) == {"empty", "targets", "warnings"}
        assert vipnet.json("host-list") == []


class TestErrors:
    def test_an_unknown_backend_in_the_file(self, vipnet: Shell) -> None:
        answer = vipnet("--config", vipnet.config('backend = "openflow"'), "-o", "json", "vpc-list")
        assert (answer.code, answer.out) == (1, "")
        assert answer.error == {
            "class": "InputParameterError",
            "code": 400,
            "details": "backend 'openflow' is not installed; installed: iptables, nftables, ovs, simulator",
        }

    def test_an_unknown_key_in_the_file(self, vipnet: Shell) -> None:
        config = vipnet.config("alloc_dri = 'stepup'")
        answer = vipnet("--config", config, "vpc-list")
        assert answer.code == 1
        assert answer.err == f"error: {config}: key 'alloc_dri' is not known; did you mean 'alloc_dir'?\n"

    @pytest.mark.parametrize("name", ["a\nb", "a;b", "", "-", "a b", "x" * 129])
    def test_a_name_that_is_none(self, vipnet: Shell, name: str) -> None:
        answer = vipnet("-o", "json", "vpc-create", "--", name, "10.0.0.0/8")
        assert answer.code == 1
        assert answer.error == {
            "class": "InputParameterError",
            "code": 400,
            "details": f"vpc name {name!r} is not accepted; use 1-128 letters, digits, '.', '_' and '-', a letter or digit first",
        }

    @pytest.mark.parametrize("value", ["many", "1.5", "", "0x10", "1_000", "9" * 19])
    def test_a_number_that_is_none(self, vipnet: Shell, value: str) -> None:
        answer = vipnet("-o", "json", "instancegroup-create", "g", "--granularity", value)
        assert answer.code == 1
        assert answer.error["details"] == f"option --granularity is {value!r}; it must be a whole number"

    def test_a_negative_number_is_judged_by_the_library(self, vipnet: Shell) -> None:
        for words in (["--granularity=-1"], ["--granularity", "-1"]):
            answer = vipnet("-o", "json", "instancegroup-create", "g", *words)
            assert (answer.code, answer.error["class"]) == (1, "InputParameterError")
            assert "-1" in answer.error["details"]

    @pytest.mark.parametrize("store", ["memory", "mysql://db/x"])
    def test_a_store_that_is_none(self, vipnet: Shell, store: str) -> None:
        answer = vipnet("--store", store, "vpc-list")
        assert answer.code == 1
        assert answer.err == f"error: store {store!r} is not known; use memory:, sqlite:///PATH or postgresql+psycopg://...\n"

    @pytest.mark.parametrize("pending", [True, False])
    def test_a_data_plane_that_fails(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch, pending: bool) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise DataplaneError("no answer", pending=pending)

        monkeypatch.setattr(Controller, "open", fail)
        answer = vipnet("-o", "json", "vpc-list")
        assert answer.code == 3
        assert answer.error == {"class": "DataplaneError", "code": 500, "details": "no answer", "pending": pending}
        assert vipnet("vpc-list").err == "error: no answer\n"

    def test_a_defect_is_no_refusal(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("out of luck")

        monkeypatch.setattr(Controller, "open", fail)
        answer = vipnet("vpc-list")
        assert (answer.code, answer.out) == (70, "")
        assert "RuntimeError: out of luck" in answer.err
        answer = vipnet("-o", "json", "vpc-list")
        assert answer.code == 70
        assert answer.error["class"] == "RuntimeError"
        assert "test_cli.py" in answer.error["traceback"]

    def test_an_interrupt_is_the_callers(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Controller, "open", interrupt)
        with pytest.raises(KeyboardInterrupt):
            vipnet("vpc-list")


class TestTables:
    def test_a_list(self, worked_example: Shell) -> None:
        assert worked_example("groupnetwork-list").out.splitlines() == [
            "group  network  ip_addr        ip6_addr  eip_addr",
            "nginx  web      192.168.7.246  -         172.30.0.2",
        ]

    def test_an_object(self, worked_example: Shell) -> None:
        rows = dict(line.split(maxsplit=1) for line in worked_example("instancegroup-show", "nginx").out.splitlines())
        assert rows["field"] == "value"
        assert (rows["name"], rows["enabled"], rows["vips"], rows["vip_eip"]) == ("nginx", "yes", "192.168.7.246", "172.30.0.2")
        assert "warnings" not in rows

    def test_an_object_with_objects_inside(self, worked_example: Shell) -> None:
        rows = dict(line.split(maxsplit=1) for line in worked_example("server-show", "node1").out.splitlines())
        assert rows["nics"].startswith("web 192.168.7.247 02:")

    def test_warnings_go_to_stderr(self, vipnet: Shell) -> None:
        for line in (
            "vpc-create prod 192.168.0.0/16",
            "network-create web 192.168.4.0/22 --vpc prod",
            "server-create node1 --net web:192.168.7.247",
            "instancegroup-create nginx",
        ):
            assert vipnet(*line.split()).code == 0
        answer = vipnet(*["instancegroup-attachnetwork", "nginx", "--network-id", "web", "--ip-addr", "192.168.7.247"])
        assert answer.code == 0
        assert answer.err.startswith("warning: ")
        assert "192.168.7.247" in answer.err
        assert "warning" not in answer.out


class TestDemo:
    @pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
    def test_progress_stays_out_of_the_way(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch, ok: bool, code: int) -> None:
        def run_demo(*, backend: str = "default", keep: bool = False, say: Callable[[str], None]) -> DemoReport:
            say("under way")
            checks = (Check(name="it works", ok=ok, detail=f"keep {keep}"),)
            return DemoReport(backend=backend, checks=checks, failover_ms=7, namespaces={"client": "c1"})

        monkeypatch.setattr("vipnet.lab.demo.run_demo", run_demo)
        answer = vipnet("-o", "json", "demo", "--keep")
        assert (answer.code, answer.err) == (code, "under way\n")
        assert answer.json == {
            "backend": "default",
            "checks": [{"name": "it works", "ok": ok, "detail": "keep True"}],
            "failover_ms": 7,
            "namespaces": {"client": "c1"},
        }
        assert vipnet("demo").out.startswith("under way\n")
        assert vipnet("-o", "json", "--backend", "global", "demo").json["backend"] == "global"
        assert vipnet("-o", "json", "--backend", "global", "demo", "--backend", "own").json["backend"] == "own"

    def test_down(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vipnet.lab.demo.take_down", lambda: ["/run/demo/1"])
        assert vipnet.json("demo", "--down") == {"removed": ["/run/demo/1"]}

    def test_an_end_by_signal_is_a_status(self, vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        def run_demo(**_: Any) -> DemoReport:
            raise SystemExit(143)

        monkeypatch.setattr("vipnet.lab.demo.run_demo", run_demo)
        assert vipnet("demo").code == 143

    def test_a_dry_run_is_refused(self, vipnet: Shell) -> None:
        answer = vipnet("--dry-run", "-o", "json", "demo")
        assert (answer.code, answer.error["class"]) == (1, "NotSupportedError")


class TestOutput:
    def test_a_dry_run_is_a_plan(self, worked_example: Shell) -> None:
        before = worked_example.json("instancegroup-show", "nginx")
        plan = worked_example.json("--dry-run", "instancegroup-dissociate-eip", "nginx")
        assert plan["empty"] is False
        assert misfits(plan, shapes(_verb("plan"))) == []
        assert worked_example.json("instancegroup-show", "nginx") == before
        assert worked_example("--dry-run", "instancegroup-dissociate-eip", "nginx").out.count("  - ") >= 1

    def test_a_dry_apply_changes_nothing(self, worked_example: Shell) -> None:
        assert worked_example.json("--dry-run", "apply") == {"empty": True, "targets": [], "warnings": []}

    def test_plan_and_apply(self, worked_example: Shell) -> None:
        assert worked_example("plan").out == "nothing to do\n"
        assert worked_example("plan", "--check").code == 0
        assert worked_example.json("apply", "--audit")["changed"] == 0

    def test_plan_check_says_when_there_is_a_difference(self, worked_example: Shell) -> None:
        states = [path for path in worked_example.folder.rglob("*") if path.is_file() and path.suffix != ".db"]
        for path in states:
            path.unlink()
        assert worked_example("plan", "--check").code == 4
        assert worked_example.json("plan")["empty"] is False

    def test_status(self, worked_example: Shell) -> None:
        status = worked_example.json("status")
        assert (status["backend"], status["drift"], status["pending"]) == ("simulator", False, [])

    def test_backends(self, vipnet: Shell) -> None:
        found = {entry["name"]: entry for entry in vipnet.json("backends")}
        assert found["simulator"]["usable"] is True
        assert set(found["simulator"]) == {"name", "installed", "usable", "reason", "capabilities"}

    def test_keepalived_config_is_text(self, worked_example: Shell) -> None:
        text = worked_example("keepalived-config", "nginx", "node1").out
        assert "vrrp_instance" in text
        assert worked_example.json("keepalived-config", "nginx", "node1") == {"config": text}

    def test_names_in_unicode_survive_any_terminal(self, vipnet: Shell) -> None:
        assert vipnet.json("host-create", "größe")["name"] == "größe"
        done = _process(vipnet, "host-list", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[1].split() == ["gr\\xf6\\xdfe", "default"]


class TestProcess:
    def test_as_a_module(self, vipnet: Shell) -> None:
        done = _process(vipnet, "--version")
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"vipnet \d+\.\d+\.\d+\n", done.stdout)
        assert _process(vipnet, "vpc-show", "nosuch").returncode == 1

    def test_a_reader_that_goes_away_is_no_error(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "vipnet", "backends"]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_help_loads_no_library(self) -> None:
        program = "import sys, vipnet.cli; vipnet.cli.main(['--help']); print({'sqlalchemy', 'rich'} & {*sys.modules})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "set()"


def _process(vipnet: Shell, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vipnet", *words],
        env={**os.environ, **environment},
        cwd=vipnet.folder,
        capture_output=True,
        text=True,
        check=False,
    )
