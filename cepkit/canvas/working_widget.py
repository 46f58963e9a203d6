"""Base classes of the widgets: one refuses bad values from the browser, one works between two events."""

from collections.abc import Callable
from functools import partial

import anywidget
from traitlets import TraitError

from cepkit.canvas.worker import Worker


class CheckedWidget(anywidget.AnyWidget):
    """A widget that keeps its values when the browser sends one that its traits refuse."""

    def set_state(self, sync_data: dict) -> None:
        """Take all values that the browser sends, or none of them; then the browser gets the old ones back."""
        try:
            for name in sync_data.keys() & self.keys:
                trait, value = self.traits()[name], sync_data[name]
                trait._validate(self, trait.metadata.get("from_json", self._trait_from_json)(value, self))
        except (TraitError, ValueError):
            self.send_state(list(sync_data))
        else:
            super().set_state(sync_data)

    def close(self) -> None:
        """Remove the view and drop everyone who listens."""
        self.unobserve_all()
        self._msg_callbacks.callbacks.clear()
        super().close()


class WorkingWidget(CheckedWidget):
    """A widget with a `Worker`, which a subclass makes in its constructor."""

    _worker: Worker | None = None  # none yet where a mistake in the arguments ends the construction

    def _follow(self, handler: Callable[[dict], None], *traits: str) -> None:
        """Handle changes of these traits on the worker's thread, whichever thread they come from."""
        self.observe(lambda change: self._worker.call(partial(handler, change)), traits)

    def _listen(self, handler: Callable[[object], None]) -> None:
        """Handle the content of the view's messages on the worker's thread."""
        self.on_msg(lambda _widget, content, _buffers: self._worker.call(partial(handler, content)))

    def settle(self) -> None:
        """Finish now all the work that the present settings ask for, training included."""
        self._worker.settle()

    def close(self) -> None:
        """Stop the work, remove the view and drop everyone who listens."""
        if self._worker is not None:
            self._worker.stop()
            self.layout.close()
        super().close()
