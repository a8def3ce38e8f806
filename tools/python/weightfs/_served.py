# SPDX-License-Identifier: Apache-2.0
"""A worker's weights that are served, and what its engine does with them.

Changes in place are one new version once they are whole: at the end of a call
that brings all of them, or of a session; else when the engine computes with
them, as nobody else knows which piece was the last.  Till then, and while the
engine has given up their memory, they are served to nobody.
"""
import contextlib
import functools
import logging
import weakref

LOG = logging.getLogger("weightfs")


def places(state):
    """Where each tensor lies, and as what."""
    return {name: (t.data_ptr(), t.dtype, tuple(t.shape), t.stride())
            for name, t in state.items()}


class Served:
    """make(state) serves these tensors: a weightfs.Model."""

    def __init__(self, model, make):
        self._model, self._make = weakref.ref(model), make
        self._depth, self._changed, self._session = 0, False, False
        self._asleep, self._kept, self._over = False, False, False
        self._update = contextlib.ExitStack()
        self._serve()

    def _serve(self):
        state = self._model().state_dict()
        self.model, self._at = self._make(state), places(state)
        self.url = self.model.url

    def close(self):
        """Takes it off, for good."""
        self._over = True
        self.model.close()

    def change(self):
        """From now on nobody is given what there is."""
        if not self._changed and not self.model.closed:
            self._update.enter_context(self.model.update())
        self._changed = True

    @contextlib.contextmanager
    def changing(self, whole, session=None):
        """Around a call that changes it; whole: to what shall be served, unless
        session() says at the end that one is on."""
        self.change()
        self._depth += 1
        try:
            yield
        except BaseException:
            whole = False  # who knows what is there
            raise
        finally:
            self._depth -= 1
            if session:
                self._session = session()
            if whole:
                self.settle()

    def update(self):
        """Around changes that the engine is not told of, of all ranks."""
        return self.changing(True)

    def sleep(self, keeps):
        """Before its memory goes; keeps: it comes back with what was there."""
        self._kept = keeps and (
            self._kept if self._asleep else not self._changed)
        self.change()
        self._asleep = True
        self.model.close()

    def wake(self):
        """After it is back."""
        self._asleep = False
        if self._kept:
            self.settle()

    def settle(self):
        """What there is now is served, if that is a whole."""
        if not self._changed or self._depth or self._session or self._asleep:
            return
        self._changed = False
        try:
            if self.model.closed or places(
                    self._model().state_dict()) != self._at:
                self.model.close()
            self._update.close()
            if self.model.closed and not self._over:
                self._serve()
        except Exception:  # which is no reason for the engine to fail
            LOG.exception("these weights are served no more")
            self.model.close()


class All:
    """Those of these models that are served."""

    def __init__(self, *models):
        found = (getattr(model, "weightfs_served", None) for model in models)
        self.found = [served for served in found if served]

    @contextlib.contextmanager
    def changing(self, whole, session=None):
        with contextlib.ExitStack() as ends:
            for served in self.found:
                ends.enter_context(served.changing(whole, session))
            yield

    def settle(self):
        for served in self.found:
            served.settle()

    def sleep(self, keeps):
        for served in self.found:
            served.sleep(keeps)

    def wake(self):
        for served in self.found:
            served.wake()


def hooked(plain, hook):
    """The function with a hook around it, hook(plain, …)."""
    @functools.wraps(plain)
    def call(*args, **named):
        return hook(plain, *args, **named)
    return call
