"""Documents as text, JSON and YAML, and the commands that print and read them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import document, empty

import vipnet
from vipnet.cli import main
from vipnet.documents import as_text, from_text


class TestDocuments:
    @pytest.mark.parametrize(
        ("text", "name", "said"),
        [
            ('{"vipnet": 1,', "x", "x is no JSON document (Expecting property name enclosed in double quotes: line 1 column 14"),
            ('{"a": 1, "a": 2}', "x", "x is no JSON document (key 'a' is there twice); give what vipnet export has written"),
            ('{"a": NaN}', "x", "x is no JSON document (NaN is no number); give what vipnet export has written"),
            ("[" * 100_000, "x", "x is no JSON document (nested too deeply); give what vipnet export has written"),
            ("a: 1\na: 2\n", "x", "x is no YAML document (key 'a' is there twice); give what vipnet export has written"),
            ("[" * 500, "x.yaml", "x.yaml is no YAML document (nested too deeply); give what vipnet export has written"),
            ("[" * 100_000, "x.yaml", "x.yaml is no YAML document ("),  # newer libyaml counts, too, and looks ahead
            ("a: [", "x", "x is no YAML document (while parsing a flow node"),
            ("a: !!python/object:os.system x", "x", "x is no YAML document (could not determine a constructor"),
            ("nothing", "x.json", "x.json is no JSON document (Expecting value: line 1 column 1 (char 0)); give what"),
        ],
    )
    def test_what_is_none(self, text: str, name: str, said: str) -> None:
        with pytest.raises(vipnet.InputParameterError) as caught:
            from_text(text, name=name)
        assert caught.value.details.startswith(said)

    def test_yaml_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "yaml", None)
        with pytest.raises(vipnet.NotSupportedError) as caught:
            as_text({}, "yaml")
        assert caught.value.details == "YAML needs PyYAML, which is not installed: pip install 'vipnet[yaml]', or use JSON"
        assert from_text(as_text(document()), name="x") == document()

    @pytest.mark.parametrize("value", [None, 5, [], "text", [[1] * 10_000]])
    def test_a_document_is_an_object(self, value: Any) -> None:
        with pytest.raises(vipnet.InputParameterError, match="it must be an object with the keys vipnet, vpcs, "):
            empty().import_topology(value)

    def test_large_values_are_cut(self) -> None:
        model = document()
        model["servers"][0]["name"] = ["x" * 10_000] * 100
        with pytest.raises(vipnet.InputParameterError) as caught:
            empty().import_topology(model)
        assert len(caught.value.details) < 300

    def test_characters_that_a_terminal_has_not(self) -> None:
        cloud = empty()
        cloud.hosts.create("größe")
        for format in ("json", "yaml"):
            text = as_text(cloud.export(), format, ascii=True)
            assert text.isascii()
            assert from_text(text, name="x") == cloud.export()
            assert "größe" in as_text(cloud.export(), format)


class TestCommands:
    @pytest.fixture
    def shell(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)

        def run(*words: str, status: int = 0) -> str:
            assert main(list(words)) == status
            said = capsys.readouterr()
            return said.err if status else said.out

        return run

    @pytest.mark.parametrize("format", ["json", "yaml"])
    def test_there_and_back(self, shell: Callable[..., str], tmp_path: Path, format: str) -> None:
        (tmp_path / "model").write_text(as_text(document()))
        counts = json.loads(shell("-o", "json", "import", "model"))
        assert counts == {
            "vpcs": 1, "networks": 3, "hosts": 1, "servers": 2, "nics": 2, "instancegroups": 2, "memberships": 2, "vips": 2,
            "eips": 2, "addresses": 7, "warnings": [],
        }  # fmt: skip
        text = shell("export", "--format", format)
        assert text == as_text(document(), format)
        (tmp_path / f"again.{format}").write_text(text)
        other = f"sqlite:///{tmp_path}/other.db"
        shell("--store", other, "import", f"again.{format}")
        assert shell("--store", other, "export", "--format", format) == text
        assert json.loads(shell("-o", "json", "export")) == document()

    def test_yaml_in_json_is_wrapped(self, shell: Callable[..., str]) -> None:
        value = json.loads(shell("-o", "json", "export", "--format", "yaml"))
        assert value["format"] == "yaml"
        assert value["document"].startswith("vipnet: 1\nvpcs: []\n")

    def test_from_standard_input(self, shell: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_text(document()).encode())))
        shell("import", "-")
        assert len(shell("server-list").splitlines()) == 3
        assert shell("import", "nowhere.json", status=1) == (
            "error: file nowhere.json cannot be read: No such file or directory; name an export, or - for standard input\n"
        )

    def test_a_dry_run_is_a_plan(self, shell: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "model.json").write_text(as_text(document()))
        assert json.loads(shell("--dry-run", "-o", "json", "import", "model.json"))["empty"] is False
        assert json.loads(shell("-o", "json", "server-list")) == []

    def test_an_unknown_format(self, shell: Callable[..., str]) -> None:
        assert shell("export", "--format", "xml", status=1) == "error: format 'xml' is unknown; use one of json, yaml\n"
