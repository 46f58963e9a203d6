"""What the labs share: a widget whose work happens between two events, and which lets go of everything when it is closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anywidget

from cepkit.canvas.worker import Worker


class WorkingWidget(anywidget.AnyWidget):
    """A widget with a `Worker`, which a subclass makes in its constructor."""

    _worker: Worker | None = None  # none yet where a mistake in the arguments ends the construction

    def _follow(self, handler: Callable[[dict], None], *traits: str) -> None:
        """Have changes of these traits handled where the work is done, whichever thread they come from."""
        self.observe(lambda change: self._worker.call(partial(handler, change)), traits)

    def _listen(self, handler: Callable[[object], None]) -> None:
        """The same for what the view sends; `handler` gets the content."""
        self.on_msg(lambda _widget, content, _buffers: self._worker.call(partial(handler, content)))

    def settle(self) -> None:
        """Finish now all the work that the present settings ask for, training included."""
        self._worker.settle()

    def close(self) -> None:
        """Stop working, let go of every observer, and remove the view."""
        if self._worker is not None:
            self._worker.stop()
            self.layout.close()
        self.unobserve_all()
        self._msg_callbacks.callbacks.clear()
        super().close()
