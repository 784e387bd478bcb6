"""A lock that is given on in turn."""

from __future__ import annotations

import threading
import time

from vipnet.turns import Turns


def test_who_comes_again_at_once_overtakes_nobody() -> None:
    turns, had, order, stop = Turns(), threading.Event(), list[str](), threading.Event()

    def again_and_again() -> None:
        while not stop.is_set():
            with turns:
                had.set()
                order.append("busy")
                time.sleep(0.05)

    busy = threading.Thread(target=again_and_again)
    busy.start()
    try:
        assert had.wait(5)
        for _ in range(10):
            before = len(order)
            with turns:
                assert len(order) - before <= 2  # the one under way, and perhaps one that had the turn already
    finally:
        stop.set()
        busy.join()


def test_who_has_it_has_it_at_once_though_another_waits() -> None:
    turns, waiting = Turns(), threading.Event()

    def wait() -> None:
        waiting.set()
        with turns:
            pass

    with turns:
        other = threading.Thread(target=wait)
        other.start()
        assert waiting.wait(5)
        time.sleep(0.05)
        with turns, turns:
            pass
        assert other.is_alive()
    other.join(5)
    assert not other.is_alive()


def test_it_can_be_asked_for() -> None:
    turns, answers = Turns(), list[bool]()
    with turns:
        thread = threading.Thread(target=lambda: answers.append(turns.acquire(blocking=False)))
        thread.start()
        thread.join()
    assert answers == [False]
    assert turns.acquire(blocking=False)
    turns.release()
