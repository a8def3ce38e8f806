# SPDX-License-Identifier: Apache-2.0
"""Web servers with a folder: nginx, Python's own, and one that misbehaves on
request."""
import errno
import functools
import http.server
import os
import re
import subprocess
import threading

import mounts

NGINX = """
daemon off;
user root;
worker_processes 2;
pid {at}/pid;
error_log {at}/errors;
events {{ }}
http {{
    access_log {at}/access;
    client_body_temp_path {at}/t1;
    proxy_temp_path {at}/t2;
    fastcgi_temp_path {at}/t3;
    uwsgi_temp_path {at}/t4;
    scgi_temp_path {at}/t5;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {more}
    }}
}}
"""


class Nginx:
    def __init__(self, at, root, more="autoindex on;"):
        at.mkdir()
        self.port = mounts.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.accesses = at / "access"
        conf = at / "nginx.conf"
        conf.write_text(NGINX.format(at=at, root=root, port=self.port,
                                     more=more))
        self.process = subprocess.Popen(
            ["nginx", "-p", at, "-e", at / "errors", "-c", conf],
            preexec_fn=mounts.die_with_parent)
        mounts.wait_until(lambda: (at / "pid").exists()
                          or self.process.poll() is not None,
                          "nginx is there")
        assert self.process.poll() is None, (at / "errors").read_text()

    def close(self):
        self.process.terminate()
        self.process.wait(mounts.DEADLINE)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Python's own: no ranges, no ETags."""

    def log_message(self, *_):
        pass


class Odd(Quiet):
    """Ranges and ETags, and whatever `server.odd(path, handler)` makes of
    them: a status to send instead, or None."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def span(self):
        return re.fullmatch(r"bytes=(\d+)-(\d+)",
                            self.headers.get("Range", ""))

    def read(self, path, with_body):
        """What is asked for: (first, last, size of the file, bytes)."""
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            first, last = (map(int, self.span().groups()) if self.span()
                           else (0, size - 1))
            file.seek(first)
            body = file.read(last + 1 - first) if with_body else b""
            return first, last, size, body

    def answer(self, with_body):
        path = self.translate_path(self.path)
        status = self.server.odd(self, path)
        if status:
            self.send_error(status)
            return
        if os.path.isdir(path):
            if with_body:
                super().do_GET()
            else:
                super().do_HEAD()
            return
        try:
            first, last, size, body = self.read(path, with_body)
        except OSError as problem:
            self.send_error(500 if problem.errno == errno.EIO else 404)
            return
        etag = f'"{self.server.tag(path)}"'
        want = self.headers.get("If-Match")
        self.server.pins.append(want)
        if want and want != etag and not self.server.careless:
            self.send_error(412)
            return
        self.send_response(206 if self.span() else 200)
        if self.span():
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if with_body:
            self.wfile.write(self.server.spoil(path, first, body))


class Listener(http.server.ThreadingHTTPServer):
    """A mount makes more connections at once than the five that wait here by
    default: the kernel would drop what comes then, to be sent again later."""
    request_queue_size = 128


class Server:
    """One of the handlers above over `root`, in threads; over TLS with a
    `context`."""

    def __init__(self, root, handler, context=None):
        self.http = Listener(
            ("127.0.0.1", 0), functools.partial(handler, directory=root))
        self.http.daemon_threads = True
        self.http.odd = lambda handler, path: None
        self.http.spoil = lambda path, first, body: body
        self.http.tag = lambda path: hash(os.stat(path).st_mtime_ns)
        self.http.careless = False
        self.http.pins = []
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        if context:
            self.url = self.url.replace("http", "https")
            # Hands are shaken by the handler's thread, at its first read.
            self.http.socket = context.wrap_socket(
                self.http.socket, server_side=True,
                do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.http.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
