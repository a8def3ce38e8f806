# SPDX-License-Identifier: Apache-2.0
"""Seeds that do not answer are tried often while a read waits for them."""
import errno
import os
import socket
import threading

import mounts
import pytest
from test_remote import MIB, seeds_of, shard


class Counter:
    """Takes connections on a port, ends them at once, and counts them."""

    def __init__(self, port):
        self.socket = socket.create_server(("127.0.0.1", port))
        self.count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.count += 1

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def test_it_is_tried_four_times_a_second_while_a_read_waits(mount, seeds,
                                                           model):
    seed = seeds(llama=model.path)
    m = mount("passthrough=off", "seed_deadline=5", "readahead=0",
              args=("--seed", seed.url))
    with open(m.path / "llama" / shard(model), "rb", buffering=0) as file:
        seed.close()
        counter = Counter(seed.port)
        mounts.wait_until(lambda: seeds_of(m)[0]["state"] == "down",
                          "it is down")

        def tries():
            before = counter.count
            with pytest.raises(OSError) as e:
                os.pread(file.fileno(), 4096, MIB + 4096)
            assert e.value.errno == errno.EIO
            return counter.count - before
        # In 5 s some 20 times for bytes, as often for news: less on a machine
        # that had something else to do, but not again and again.
        mounts.wait_until(lambda: tries() >= 20, "it is tried so often")
        counter.close()
