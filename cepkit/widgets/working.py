"""What the labs share: a widget whose work happens between two events, and which lets go of everything when it is closed."""

from __future__ import annotations

import anywidget

from cepkit.widgets.worker import Worker


class WorkingWidget(anywidget.AnyWidget):
    """A widget with a `Worker`, which a subclass makes in its constructor."""

    _worker: Worker | None = None  # none yet where a mistake in the arguments ends the construction

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
