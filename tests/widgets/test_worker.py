"""The worker finishes a first answer, drops what is stale after it, and keeps no queue."""

from __future__ import annotations

import asyncio

from cepkit.widgets.worker import Worker


class Desk:
    """Work on the number that is wanted when the work begins: an answer after two pieces, three more pieces of refinement."""

    def __init__(self):
        self.wanted, self.log, self.errors = 0, [], []
        self.worker = Worker(self.work, self.errors.append)

    def work(self):
        number = self.wanted
        self.log.append(f"begin {number}")
        yield
        yield
        self.log.append(f"answer {number}")
        self.worker.answered = True
        for _ in range(3):
            yield
        self.log.append(f"done {number}")

    def want(self, number):
        self.wanted = number
        self.worker.start()


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


def test_an_error_is_told_and_the_next_work_is_done():
    desk = Desk()

    def broken():
        yield
        raise KeyError("layer")

    desk.worker._make = broken
    desk.want(1)
    desk.worker._make = desk.work
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
