"""A process that begins: it opens a store and makes the data plane what it should be; then everything is read back.

    python -m runner.starting CONFIGURATION whole|by-key

It prints one JSON line: by the clock that all processes share, when that was done; and how many entries each had changed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> None:
    """Begin."""
    from vipnet.controller import Controller

    config, how = arguments
    with Controller.open(Path(config), by_key=how == "by-key") as cloud:
        changed = cloud.apply().changed
        done = time.monotonic()
        audited = cloud.apply(audit=True).changed
    print(json.dumps({"done": done, "changed": changed, "audited": audited}))


if __name__ == "__main__":
    main(sys.argv[1:])
