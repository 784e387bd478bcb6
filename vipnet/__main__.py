"""`python -m vipnet` is the console script."""

from vipnet.cli import run

if __name__ == "__main__":
    run()
