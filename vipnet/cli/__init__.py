"""The command line: a thin layer over the library, in which every operation is declared as data (`verbs`).

`main` may be called in process, as often as wanted: it keeps no state, never exits, and writes only to the `sys.stdout`
and `sys.stderr` of the moment. `run` is the console script.
"""

from vipnet.cli.entry import main, run

__all__ = ["main", "run"]
