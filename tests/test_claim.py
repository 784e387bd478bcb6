"""Who watches a store: by a lock that dies with its holder."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from vipnet.claim import Claim

HOLDER = """
import sys, time
from pathlib import Path
from vipnet.claim import Claim
assert Claim(Path(sys.argv[1])).take()
print("taken", flush=True)
time.sleep(60)
"""


def test_one_claims_and_the_others_see_whose_it_is(tmp_path: Path) -> None:
    mine, other = Claim(tmp_path / "s"), Claim(tmp_path / "s")
    assert mine.holder() is None
    assert not [*tmp_path.iterdir()]  # to look makes no file
    assert mine.take()
    assert mine.take()
    assert stat.S_IMODE((tmp_path / "s.watch").stat().st_mode) == 0o600
    assert mine.holder() is None
    assert other.holder() == os.getpid()
    assert not other.take()
    mine.release()
    mine.release()
    assert other.holder() is None
    assert other.take()
    other.release()


def test_a_killed_holder_claims_nothing(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "s")
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        assert claim.holder() == holder.pid
        holder.send_signal(signal.SIGKILL)
    assert claim.holder() is None


def test_who_only_looks_hinders_nobody(tmp_path: Path) -> None:
    claims = [Claim(tmp_path / "s") for _ in range(50)]
    for claim in claims:
        assert claim.take()
        assert claims[0].holder() in (None, os.getpid())
        claim.release()
