from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vipnet.backend import Backend
from vipnet.errors import DataplaneError, InputParameterError
from vipnet.registry import BackendInfo, available_backends, load_backend

_GOOD = """
from vipnet.backend import Backend, Usability

class Good(Backend):
    name = "good"
    capabilities = frozenset({"ipv4", "eip"})
    def __init__(self, context): pass
    @classmethod
    def usability(cls): return Usability(False, "needs root; run it with sudo")
    def compile(self, intents): return {}
    def read(self): return {}
    def apply(self, step): return {}

class Raises(Good):
    @classmethod
    def usability(cls): raise RuntimeError("no kernel")

thing = 5
"""

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a distribution `foreign` with an extra `wants`, that offers one backend."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "vipnet_foreign.py").write_text(_GOOD)
    (tmp_path / "vipnet_wants.py").write_text("import a_library_that_is_not_there\n")

    def add(name: str, target: str) -> None:
        info = tmp_path / f"foreign_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: foreign_{name}\nVersion: 1.0\nProvides-Extra: wants\n")
        (info / "entry_points.txt").write_text(f"[vipnet.backends]\n{name} = {target}\n")

    monkeypatch.delitem(sys.modules, "vipnet_foreign", raising=False)
    return add


def _info(name: str) -> BackendInfo:
    return next(info for info in available_backends() if info.name == name)


def test_ours_are_found() -> None:
    names = [info.name for info in available_backends()]
    assert names == sorted(names)
    assert {"nftables", "simulator"} <= set(names)
    assert all(info.installed for info in available_backends())


def test_the_simulator_works_everywhere() -> None:
    assert issubclass(load_backend("simulator"), Backend)
    assert _info("simulator").usable


def test_a_foreign_backend_is_found_like_ours(install: Install) -> None:
    install("good", "vipnet_foreign:Good")
    assert load_backend("good").name == "good"
    assert _info("good") == BackendInfo(
        name="good", installed=True, usable=False, reason="needs root; run it with sudo", capabilities=("eip", "ipv4")
    )


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        (
            "wants",
            "vipnet_wants:Backend",
            (
                "backend 'wants' cannot be imported (No module named 'a_library_that_is_not_there'); "
                "install it with: pip install 'foreign_wants[wants]'"
            ),
        ),
        (
            "gone",
            "vipnet_gone:Backend",
            "backend 'gone' cannot be imported (No module named 'vipnet_gone'); install it with: pip install 'foreign_gone'",
        ),
        (
            "five",
            "vipnet_foreign:thing",
            "backend 'five' cannot be used: vipnet_foreign:thing is no Backend; install it with: pip install 'foreign_five'",
        ),
    ],
)
def test_one_that_cannot_be_imported_says_what_to_install(install: Install, name: str, target: str, reason: str) -> None:
    install(name, target)
    assert _info(name) == BackendInfo(name=name, installed=True, usable=False, reason=reason, capabilities=())
    assert "simulator" in {info.name for info in available_backends()}
    with pytest.raises(DataplaneError) as unusable:
        load_backend(name)
    assert unusable.value.details == reason
    assert not unusable.value.pending


def test_one_that_fails_when_asked_does_not_hide_the_others(install: Install) -> None:
    install("raises", "vipnet_foreign:Raises")
    assert _info("raises").reason == "backend 'raises' failed when asked: RuntimeError('no kernel')"
    assert "simulator" in {info.name for info in available_backends()}


def test_an_unknown_backend_is_named_with_those_installed() -> None:
    installed = ", ".join(info.name for info in available_backends())
    with pytest.raises(InputParameterError) as refused:
        load_backend("openflow")
    assert refused.value.details == f"backend 'openflow' is not installed; installed: {installed}"
