# SPDX-License-Identifier: Apache-2.0
"""A liar between a node and a seed: passes on what they say to each other, but
keys, of which it changes a digit for as long as it is not honest."""
import re
import socket
import threading

KEYS = re.compile(rb'"rkeys":\[[0-9,]+\]')


def change(match):
    text = bytearray(match[0])
    for i, byte in enumerate(text):
        if byte in b"0123456789" and text[i + 1] not in b"0123456789":
            text[i] = ord("1") if byte != ord("1") else ord("2")
    return bytes(text)


class Tamper:
    def __init__(self):
        self.honest = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.to = None
        self.socks = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in [self.listener, *self.socks]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def lead_to(self, port):
        self.to = port
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                node = self.listener.accept()[0]
                seed = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.socks += [node, seed]
            for pair in ((node, seed, False), (seed, node, True)):
                threading.Thread(target=self.pump, args=pair,
                                 daemon=True).start()

    def pump(self, source, sink, lies):
        try:
            while data := source.recv(1 << 20):
                if lies and not self.honest.is_set():
                    data = KEYS.sub(change, data)
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
