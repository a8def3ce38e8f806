# SPDX-License-Identifier: Apache-2.0
"""What a seed bears: caps, slow clients, garbage, clients that die."""
import contextlib
import random
import socket
import struct
import threading
import time

import checkpoints as ck
import mounts
import pytest
import seeds
import wire

MIB = 1 << 20
GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def large(folder, chance):
    """One shard file of 64 MiB: more than sockets hold."""
    return ck.hf_single(folder / "large", ck.layers(4, 16 * MIB), chance)


def biggest(seed):
    return max(seed.files().values(), key=lambda f: f["size"])


def ask_for(region):
    return (f"GET /v1/regions/{region} HTTP/1.1\r\nHost: x\r\n\r\n").encode()


def test_connections_beyond_the_cap_are_told(seeder, plain):
    # Those that are held are idle for as long as this takes.
    seed = seeder("--connections", "4", "--client-timeout", "3600", m=plain)
    held = [seed.connect() for _ in range(4)]
    for conn in held:
        assert seed.ask("/healthz", conn=conn).status == 200
    got = seed.ask("/healthz")
    assert got.status == 503 and "connections" in got.error
    assert got.headers["connection"] == "close"
    assert int(got.headers["retry-after"]) > 0
    held.pop().close()
    seed.wait_answers()
    for conn in held:
        assert seed.ask("/healthz", conn=conn).status == 200


def test_one_address_cannot_take_all_connections(seeder, plain):
    seed = seeder("--connections-per-client", "3", m=plain)
    streams = [wire.Stream(seed.address) for _ in range(3)]
    got = seed.ask("/v1/models")
    assert got.status == 429 and "this address" in got.error
    sock = socket.create_connection(seed.address, seeds.DEADLINE,
                                    source_address=("127.0.0.2", 0))
    sock.sendall(GET + b"Connection: close\r\n\r\n")
    assert b"200 OK" in sock.recv(100)
    sock.close()
    streams.pop().close()
    seed.wait_answers("/v1/models")


def test_a_crowd_beyond_the_cap_is_survived(seeder, plain):
    seed = seeder("--connections", "8", m=plain)
    held = seed.settled()
    crowd = []
    for _ in range(100):
        sock = seed.raw(GET + b"\r\n")
        crowd.append(sock)
    assert seed.tasks() < held[1] + 60
    for sock in crowd:
        sock.close()
    seed.wait_back_to(held)
    seed.wait_answers()


@pytest.mark.parametrize("dribble", [
    b"", b"G", GET, GET + b"X: y\r\n"], ids=["nothing", "a", "line", "head"])
def test_a_slow_request_is_cut_off(seeder, plain, dribble):
    seed = seeder("--client-timeout", "1", m=plain)
    held = seed.settled()
    with seed.raw(dribble) as sock:
        stop = threading.Event()

        def drip():  # never silent, never done
            try:
                while not stop.wait(0.05):
                    sock.sendall(b"a: b\r\n" if dribble[-1:] == b"\n"
                                 else b"a")
            except OSError:
                pass
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert seeds.is_cut_off(sock)
        finally:
            stop.set()
            thread.join()
    seed.wait_back_to(held)
    assert seed.metrics()["cut_off_total"] >= 1


def test_an_idle_connection_is_not_kept_for_ever(seeder, plain):
    seed = seeder("--client-timeout", "1", m=plain)

    def answered():
        sock = seed.raw(GET + b"\r\n")
        if b"200 OK" in sock.recv(100):
            return sock
        sock.close()  # it was late
        return None
    with seed.patiently(answered) as sock:
        assert seeds.is_cut_off(sock)


@pytest.mark.parametrize("how", ["range", "stream"])
def test_a_client_that_takes_nothing_is_cut_off(seeder, large, how):
    seed = seeder("--client-timeout", "2", m=large)
    region = biggest(seed)["region"]
    held = seed.settled()
    if how == "range":
        sock = seed.raw(ask_for(region))
    else:
        sock = seed.patiently(lambda: wire.Stream(seed.address)).sock
        sock.sendall(wire.request(region, 0, MIB) * 60)
    mounts.wait_until(lambda: seed.metrics()["connections"] == 1,
                      "the connection is gone")
    seed.wait_back_to(held)
    sock.close()


def test_a_client_that_takes_next_to_nothing_is_cut_off(seeder, large):
    seed = seeder("--client-timeout", "2", m=large)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(seed.address)
    sock.sendall(ask_for(biggest(seed)["region"]))
    sock.settimeout(seeds.DEADLINE)
    taken = 0

    def sip():
        nonlocal taken
        try:
            got = sock.recv(100)
        except ConnectionError:
            return True
        taken += len(got)
        # What its kernel was given before that goes on dripping.
        return not got or seed.metrics()["connections"] == 1
    mounts.wait_until(sip, "it is cut off", every=0.1)
    assert taken < 32 * MIB
    sock.close()


def refusal_of(seed, text):
    """The status.  It may be here before all of the text is there."""
    with seed.raw() as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(text)
        return sock.recv(100).split()[1]


def test_a_large_head_is_refused(seed):
    assert refusal_of(seed, GET + b"X-A: " + b"a" * 70000 + b"\r\n\r\n") in (
        b"431", b"400", b"413")
    assert refusal_of(seed, b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n"
                      ) in (b"414", b"431", b"400")
    assert seed.ask("/healthz").status == 200


def test_a_body_is_refused(seed):
    got = seed.ask("/v1/models", "POST", body=b"x" * 100)
    assert got.status == 413 and got.error
    with seed.raw(GET + b"Content-Length: 99999999999\r\n\r\n") as sock:
        assert sock.recv(100).split()[1] == b"413"
        assert seeds.is_cut_off(sock)
    with seed.raw(GET + b"Transfer-Encoding: chunked\r\n\r\nf") as sock:
        assert sock.recv(100).split()[1] == b"413"


def test_noise_is_no_request(seed, chance):
    noise = random.Random(chance)
    for _ in range(30):
        try:
            with seed.raw(noise.randbytes(noise.randrange(1, 3000)) +
                          b"\r\n\r\n") as sock:
                sock.shutdown(socket.SHUT_WR)
                assert seeds.is_cut_off(sock)
        except ConnectionError:
            pass
    assert seed.ask("/healthz").status == 200


def test_clients_killed_in_mid_transfer_leave_nothing(seeder, large):
    seed = seeder(m=large)
    region = biggest(seed)["region"]
    held = seed.settled()
    for i in range(30):
        with seed.raw(ask_for(region)) as sock:
            assert sock.recv(1000)
            if i % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                struct.pack("ii", 1, 0))
    seed.wait_back_to(held)


def test_those_who_wait_and_go_leave_nothing(seed):
    seed.manifest()  # from here on it knows its files' digests by descriptor
    held = seed.settled()
    for path in (b"/v1/events", b"/v1/models/m/manifest?wait=30"):
        for _ in range(10):
            with seed.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"
                          ) as sock:
                if path == b"/v1/events":
                    assert b"200 OK" in sock.recv(1000)
    seed.wait_back_to(held)


@pytest.mark.parametrize("how", ["range", "stream", "both"])
def test_the_rate_is_kept(seeder, large, how):
    rate = 8 * MIB
    seed = seeder("--rate", "8M", m=large)
    region, size = biggest(seed)["region"], biggest(seed)["size"]
    # What is ahead of the clock at the start, and what sockets hold.
    start, before = time.monotonic(), seed.metrics()["sent_bytes_total"]
    stop = threading.Event()

    def by_range():
        while not stop.is_set():
            with seed.raw(ask_for(region)) as sock:
                while not stop.is_set() and sock.recv(1 << 16):
                    pass

    def by_stream():
        with wire.Stream(seed.address) as s:
            off = 0
            while not stop.is_set():
                s.read(region, off, min(MIB, size - off))
                off = (off + MIB) % (size - size % MIB)
    work = {"range": [by_range] * 3, "stream": [by_stream] * 3,
            "both": [by_range, by_stream] * 2}[how]
    threads = [threading.Thread(target=w) for w in work]
    for t in threads:
        t.start()
    mounts.wait_until(
        lambda: seed.metrics()["sent_bytes_total"] - before > 2 * rate,
        "two seconds' worth was sent")
    sent = seed.metrics()["sent_bytes_total"] - before
    took = time.monotonic() - start
    stop.set()
    for t in threads:
        t.join()
    # Slower is no fault of the cap; faster is.
    assert sent <= rate * (took + 0.3) + MIB


def test_a_capped_seed_ends_at_once(seeder, large):
    seed = seeder("--rate", "4096", m=large)
    socks = [seed.raw(ask_for(biggest(seed)["region"])) for _ in range(3)]
    for sock in socks:
        assert sock.recv(10)
    assert seed.terminate() == 0
    for sock in socks:
        sock.close()


def test_many_clients_at_once_get_their_bytes(seed, plain, chance):
    files = seed.files()
    choose = random.Random(chance)
    wrong = []

    def work(number):
        mine = random.Random(number)
        conn = seed.connect()
        for _ in range(20):
            name = mine.choice(sorted(files))
            size = files[name]["size"]
            if not size:
                continue
            first = mine.randrange(size)
            last = mine.randrange(first, size)
            got = seed.ask(f"/v1/regions/{files[name]['region']}", conn=conn,
                           headers={"Range": f"bytes={first}-{last}"})
            with open(plain.path / name, "rb") as f:
                f.seek(first)
                if got.body != f.read(last - first + 1):
                    wrong.append((name, first, last))
        conn.close()
    threads = [threading.Thread(target=work, args=(choose.random(),))
               for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
