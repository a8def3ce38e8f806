# SPDX-License-Identifier: Apache-2.0
"""Memory that is there when something new wants it.

A virtual machine may give free memory back to its host (free page reporting:
within two seconds or so, in pieces of megabytes), and to have it again costs
some 3 s a gigabyte where clearing costs 0.2: whatever fills an empty arena, a
new file or a cold page cache then measures the host.  So this process keeps as
much as will be wanted, and lets go of it just before.

What is freed in the block comes back to it only if it is freed there: a mount
ends in the block that it was given memory for, or the kernel, which takes what
the host has first, gives its memory to the next round.  For the same reason it
does not help to keep all other memory as well.  Rounds in which half of the CPU
time is clear_page are rounds in which that went wrong.
"""
import contextlib
import mmap
import time

SETTLE = 2.5  # seconds until what was freed before has been given back
HUGE = 2 << 20


class Ballast:
    """with ballast.lent(): what takes up to `size` new bytes"""

    def __init__(self, size):
        self.size = -(-size // HUGE) * HUGE
        self.memory = None
        self.hold()

    def hold(self):
        self.memory = mmap.mmap(-1, self.size,
                                flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, self.size, mmap.PAGESIZE):
            self.memory[at] = 1

    def let_go(self):
        if self.memory:
            self.memory.close()
        self.memory = None

    @contextlib.contextmanager
    def lent(self):
        """Lets go of it for this block.  What was freed before is given back
        to the host first, so that nothing of this is for two seconds."""
        time.sleep(SETTLE)
        self.let_go()
        try:
            yield
        finally:
            self.hold()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.let_go()
