# SPDX-License-Identifier: Apache-2.0
"""What else runs while remote models are measured: seeds, and what weightfs is
compared with.  Each ends with the block that it was made for."""
import os
import re
import socket
import subprocess
import tempfile
import time

import mount


def cpu(pid):
    """Seconds of CPU that a process had until now: its clock, whose number is
    made of its own as clock_getcpuclockid(3) does, and counts no ticks."""
    return time.clock_gettime(~pid << 3 | 2)


def certificate(root):
    """(certificate, key) of 127.0.0.1, signed by itself."""
    cert, key = os.path.join(root, "cert.pem"), os.path.join(root, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                    "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
                    cert], check=True, stderr=subprocess.DEVNULL)
    return cert, key


class Process:
    """A program in front, ended at the end of the block."""

    def __init__(self, name, command, **options):
        self.name, self.command, self.options = name, command, options

    def is_ready(self):
        raise NotImplementedError

    def log(self):
        self.file.seek(0)
        return self.file.read().decode(errors="replace")

    def __enter__(self):
        self.file = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            self.command, stdout=self.file, stderr=self.file,
            **{"stdin": subprocess.DEVNULL, **self.options})
        self.pid = self.child.pid
        try:
            mount.await_that(self.name, self.is_up)
        except BaseException:
            self.__exit__()
            raise
        return self

    def is_up(self):
        if self.child.poll() is not None:
            raise RuntimeError("%s ended: %s" % (self.name, self.log()))
        return self.is_ready()

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()
        self.file.close()


class Seed(Process):
    """`weightfs seed` of some checkpoints, on a port of its own."""

    def __init__(self, root, made, *arguments, same_host=False):
        command = [mount.PROGRAM, "seed", "-f", "--listen", "127.0.0.1:0",
                   "--digest-cache", os.path.join(root, "digests"),
                   "--same-host=" + ("on" if same_host else "off")]
        for checkpoint in made:
            command += ["--model",
                        "%s=%s" % (checkpoint.name, checkpoint.path)]
        super().__init__("the seed", command + list(arguments))

    def is_ready(self):
        found = re.search(r"seeding on '(\w+://.*:\d+)'", self.log())
        self.url = found and found[1]
        return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Nginx(Process):
    """A web server with a folder."""

    CONF = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off; sendfile on; default_type application/octet-stream;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
  uwsgi_temp_path tmp; scgi_temp_path tmp;
  server { listen 127.0.0.1:%d; root %s; autoindex on; }
}
"""

    def __init__(self, root, folder):
        at = os.path.join(root, "nginx")
        os.makedirs(at, exist_ok=True)
        self.port = free_port()
        self.url = "http://127.0.0.1:%d/" % self.port
        with open(os.path.join(at, "conf"), "w", encoding="utf-8") as conf:
            conf.write(self.CONF % (self.port, folder))
        super().__init__("nginx", [
            "nginx", "-p", at, "-e", "stderr", "-c", os.path.join(at, "conf")])

    def is_ready(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Rclone(Process):
    """`rclone mount` of what a web server has, as it comes."""

    def __init__(self, root, url, path):
        self.path = path
        os.makedirs(path, exist_ok=True)
        super().__init__("rclone", [
            "rclone", "mount", "--read-only", "--cache-dir",
            os.path.join(root, "rclone"), "--http-url", url, ":http:", path],
            env={**os.environ, "RCLONE_CONFIG": "/dev/null"})

    def is_ready(self):
        return os.path.ismount(self.path)

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=False,
                       stderr=subprocess.DEVNULL)
        super().__exit__()
