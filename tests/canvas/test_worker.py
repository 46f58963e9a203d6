"""The worker finishes a first answer, drops what is stale after it, and keeps no queue."""

from __future__ import annotations

import asyncio
import threading
import time

import torch

from cepkit.canvas.worker import Worker


class Desk:
    """Work on the number that is wanted when the work begins: an answer after two pieces, three more pieces of refinement."""

    def __init__(self):
        self.wanted, self.log, self.errors, self.make = 0, [], [], self.work
        self.worker = Worker(lambda: self.make(), self.errors.append)

    def work(self):
        number = self.wanted
        self.log.append(f"begin {number}")
        yield
        yield
        self.log.append(f"answer {number}")
        self.worker.idle = True
        for _ in range(3):
            yield
        self.log.append(f"done {number}")

    def want(self, number):
        self.wanted = number
        self.worker.start()


def test_work_is_done_on_one_thread_of_torch_whatever_the_setting():
    """On a busy machine of two cores two threads made the first lab wait for two minutes."""
    seen = []
    torch.set_num_threads(2)
    try:

        def work():
            yield
            seen.append(torch.get_num_threads())

        Worker(work, seen.append).start()
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_without_an_event_loop_all_is_done_at_once():
    desk = Desk()
    desk.want(1)
    assert desk.log == ["begin 1", "answer 1", "done 1"]


def test_in_an_event_loop_it_is_done_between_two_events():
    async def use():
        desk = Desk()
        desk.want(1)
        assert desk.log == []
        while desk.worker.advance(0.0):
            await asyncio.sleep(0)
        return desk.log

    assert asyncio.run(use()) == ["begin 1", "answer 1", "done 1"]


def test_newer_work_waits_for_the_answer_and_replaces_the_rest():
    async def use():
        desk = Desk()
        desk.want(1)
        desk.worker.advance(0.0)
        for number in range(2, 200):  # a burst: only the last is worked on
            desk.want(number)
        desk.worker.settle()
        return desk.log

    assert asyncio.run(use()) == ["begin 1", "answer 1", "begin 199", "answer 199", "done 199"]


def test_an_error_is_reported_and_the_next_work_is_done():
    desk = Desk()

    def broken():
        yield
        raise KeyError("layer")

    desk.make = broken
    desk.want(1)
    desk.make = desk.work
    desk.want(2)
    assert [repr(error) for error in desk.errors] == ["KeyError('layer')"] and desk.log[-1] == "done 2"


def test_start_works_at_once_until_there_is_something_to_show():
    async def use():
        desk = Desk()
        desk.worker.start(until=lambda: "answer 0" in desk.log)
        return list(desk.log)

    assert asyncio.run(use()) == ["begin 0", "answer 0"]


def test_stopped_is_stopped():
    async def use():
        desk = Desk()
        desk.want(1)
        desk.worker.stop()
        await asyncio.sleep(0.01)
        return desk.log, desk.worker.advance(0.0)

    assert asyncio.run(use()) == ([], False)


def test_what_another_thread_asks_for_is_done_here_and_now():
    """JupyterLab's subshells: the message of a slider arrives in another thread, with an event loop of its own."""

    async def use():
        desk, threads = Desk(), []

        def resting():
            number = desk.wanted
            desk.worker.idle = True
            threads.append((number, threading.get_ident()))
            yield 30.0  # seconds that it would rather wait
            threads.append("rested")

        def wants(number):
            async def moves():
                desk.worker.call(lambda: desk.want(number))

            return lambda: asyncio.run(moves())

        desk.make = resting
        desk.want(1)
        await asyncio.sleep(0.02)
        begin = time.monotonic()
        threading.Thread(target=wants(2)).start()
        while len(threads) < 2 and time.monotonic() - begin < 10:
            await asyncio.sleep(0.01)
        desk.worker.stop()
        return threads, threading.get_ident(), time.monotonic() - begin

    threads, here, passed = asyncio.run(use())
    assert threads == [(1, here), (2, here)] and passed < 5


def test_two_threads_may_work_at_once():
    desk = Desk()

    def slowly():
        for piece in range(40):
            time.sleep(0.002)
            desk.log.append(piece)
            yield

    desk.make = slowly
    threads = [threading.Thread(target=desk.worker.start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.log in (list(range(40)), 2 * list(range(40))) and not desk.errors


def test_after_the_end_nothing_is_asked_for():
    desk = Desk()
    desk.worker.stop()
    desk.want(1)
    assert desk.log == [] and not desk.errors
