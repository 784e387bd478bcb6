"""A host whose VPC is programmed by iptables, in either variant, and what somebody without vipnet does there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from nft_scene import Scene

from vipnet.backend import Backend, BackendContext
from vipnet_iptables import IptablesBackend
from vipnet_kernel.namespaces import entered

__all__ = ["IptablesScene"]


class IptablesScene(Scene):
    """The scene of the nftables benchmark, programmed by iptables."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        super().__init__()

    @property
    def identity(self) -> str:
        return f"{self.space} iptables"

    def opened(self) -> Backend[Any]:
        return IptablesBackend(BackendContext(options={"namespace": self.space, "variant": self.variant}))

    def run(self, *argv: str, text: str | None = None) -> str:
        """Run a program in the router. Exits when it fails."""
        with entered(self.router):
            done = subprocess.run(list(argv), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(argv)[:80]}: {done.stderr[:300]}, status {done.returncode}")
        return done.stdout

    def saved(self) -> str:
        """The rules of the router, as a file for the restore program."""
        return self.run(f"iptables-{self.variant}-save")

    def restore(self, text: str, *options: str) -> None:
        """What somebody without vipnet does."""
        self.run(f"iptables-{self.variant}-restore", "-w", "10", *options, text=text)

    def put_list(self, count: int) -> None:
        """Put a list of so many DNAT rules before ours, one an EIP, as those make it who have no tree."""
        rules = [f"-A LIST -d 21.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 -j DNAT --to-destination 10.0.0.1" for n in range(count)]
        self.restore("\n".join(["*nat", ":LIST - [0:0]", *rules, "-I PREROUTING 1 -j LIST", "COMMIT", ""]), "--noflush")
