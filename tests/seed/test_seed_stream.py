# SPDX-License-Identifier: Apache-2.0
"""The stream: chunks with their digests, and what is no request."""
import random
import socket
import struct

import mounts
import pytest
import seeds
import wire
from wire import CHUNK


@pytest.fixture
def stream(seed):
    with wire.Stream(seed.address) as s:
        assert s.status == 101
        yield s


def lengths(size):
    return [(off, min(CHUNK, size - off)) for off in range(0, size, CHUNK)]


def test_the_upgrade_is_answered_as_http_has_it(stream):
    head = stream.head.lower()
    assert "connection: upgrade" in head
    assert "upgrade: weightfs-stream/1" in head


def test_every_chunk_comes_with_its_digest(seed, plain, stream):
    for name, row in seed.files().items():
        data = (plain.path / name).read_bytes()
        for off, size in lengths(row["size"]):
            tag, status, digest, got = stream.read(row["region"], off, size,
                                                   tag=off // CHUNK + 7)
            assert (tag, status) == (off // CHUNK + 7, wire.OK)
            mounts.assert_same(got, data[off:off + size], f"{name} at {off}")
            assert digest == seeds.xxh3_of(got).hex()


def test_a_chunk_is_hashed_once(seed):
    row = max(seed.files().values(), key=lambda f: f["size"])
    for _ in range(3):
        with wire.Stream(seed.address) as s:
            for off, size in lengths(row["size"]):
                assert s.read(row["region"], off, size)[1] == wire.OK
    chunks = 3 * len(lengths(row["size"]))
    # What was sent is here before it is counted.
    got = mounts.wait_until(
        lambda: (m := seed.metrics())["chunks_total"] >= chunks and m,
        "all are counted")
    assert got["chunks_total"] == chunks
    assert got["sent_bytes_total"] == 3 * row["size"]
    assert got["hashed_bytes_total"] == row["size"]


def test_digests_that_are_known_are_not_made_again(seed):
    mounts.wait_until(
        lambda: all(f["xxh3"] for f in seed.manifest(query="?wait=30")
                    ["files"] if "region" in f), "all roots are known")
    row = max(seed.files().values(), key=lambda f: f["size"])
    with wire.Stream(seed.address) as s:
        for off, size in lengths(row["size"]):
            _, status, digest, got = s.read(row["region"], off, size)
            assert status == wire.OK and digest == seeds.xxh3_of(got).hex()
    assert seed.metrics()["hashed_bytes_total"] == 0


def test_many_requests_are_answered_in_order(seed, plain, chance):
    files = seed.files()
    name, row = max(files.items(), key=lambda f: f[1]["size"])
    data = (plain.path / name).read_bytes()
    wanted = lengths(row["size"]) * 8
    random.Random(chance).shuffle(wanted)
    with wire.Stream(seed.address) as s:
        s.send(b"".join(wire.request(row["region"], off, size, tag)
                        for tag, (off, size) in enumerate(wanted)))
        for tag, (off, size) in enumerate(wanted):
            got = s.answer()
            assert got[:2] == (tag, wire.OK)
            mounts.assert_same(got[3], data[off:off + size], f"at {off}")


def test_requests_may_come_with_the_upgrade(seed, plain):
    row = seed.files()["config.json"]
    early = wire.request(row["region"], 0, row["size"], 5)
    with wire.Stream(seed.address, early=early * 3 + early[:20]) as s:
        s.send(early[20:])
        for _ in range(4):
            tag, status, _, got = s.answer()
            assert (tag, status) == (5, wire.OK)
            assert got == (plain.path / "config.json").read_bytes()


def test_a_request_may_come_byte_by_byte(seed, plain, stream):
    row = seed.files()["config.json"]
    for byte in wire.request(row["region"], 0, row["size"]):
        stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.send(bytes([byte]))
    assert stream.answer()[3] == (plain.path / "config.json").read_bytes()


def test_an_unknown_region_is_told_and_the_stream_goes_on(seed, stream):
    row = seed.files()["config.json"]
    tag, status, digest, text = stream.read("0" * 32, 0, CHUNK, tag=9)
    assert (tag, status, digest) == (9, wire.UNKNOWN, "0" * 32)
    assert text.decode() and len(text) <= 512
    assert stream.read(row["region"], 0, row["size"])[1] == wire.OK


@pytest.mark.parametrize("what", [
    "short", "long", "beyond", "end", "odd", "zero", "magic", "operation",
    "flags", "tail", "noise"])
def test_garbage_ends_the_stream_after_a_sentence(seed, chance, what):
    row = max(seed.files().values(), key=lambda f: f["size"])
    region, size = row["region"], row["size"]
    past = (size + CHUNK - 1) // CHUNK * CHUNK
    frame = {
        "short": wire.request(region, 0, CHUNK - 1),
        "long": wire.request(region, past - CHUNK, CHUNK),
        "beyond": wire.request(region, past, CHUNK),
        "end": wire.request(region, 1 << 63, CHUNK),
        "odd": wire.request(region, 1, CHUNK),
        "zero": wire.request(region, 0, 0),
        "magic": b"WFR2" + wire.request(region, 0, CHUNK)[4:],
        "operation": wire.request(region, 0, CHUNK, op=2),
        "flags": wire.request(region, 0, CHUNK)[:6] + b"\1\0" +
        wire.request(region, 0, CHUNK)[8:],
        "tail": wire.request(region, 0, CHUNK)[:47] + b"\1",
        "noise": random.Random(chance).randbytes(48),
    }[what]
    with wire.Stream(seed.address) as s:
        s.send(frame)
        _, status, _, text = s.answer()
        assert status == wire.MALFORMED and text
        s.sock.settimeout(seeds.DEADLINE)
        assert s.is_closed()
    seed.wait_answers()


def test_noise_without_end_is_cut_off(seed, chance):
    noise = random.Random(chance).randbytes(1 << 20)
    with wire.Stream(seed.address) as s:
        with pytest.raises((ConnectionError, BrokenPipeError, TimeoutError)):
            s.sock.settimeout(seeds.DEADLINE)
            while True:
                s.send(noise)
    assert seed.ask("/healthz").status == 200


def test_another_version_of_the_stream_is_refused(seed):
    with wire.Stream(seed.address, name="weightfs-stream/2") as s:
        assert s.status == 426
        assert "upgrade: weightfs-stream/1" in s.head.lower()
    with wire.Stream(seed.address, headers=["Weightfs-Protocol: 7"]) as s:
        assert s.status == 426


def test_an_idle_stream_is_left_alone(seeder, plain):
    seed = seeder("--client-timeout", "1", m=plain)
    row = seed.files()["config.json"]
    with seed.patiently(lambda: wire.Stream(seed.address)) as s:
        # A slow client is cut off meanwhile: as long as that this one lives.
        with seed.raw(b"GET / HTTP/1.1\r\n") as slow:
            assert seeds.is_cut_off(slow)
        with seed.raw(b"GET / HTTP/1.1\r\n") as slow:
            assert seeds.is_cut_off(slow)
        assert s.read(row["region"], 0, row["size"])[1] == wire.OK


def test_half_a_frame_is_not_waited_for_for_ever(seeder, plain):
    seed = seeder("--client-timeout", "1", m=plain)
    with seed.patiently(lambda: wire.Stream(seed.address)) as s:
        s.send(b"WFR1")
        assert seeds.is_cut_off(s.sock)


def test_streams_at_once_do_not_mix(seed, plain, chance):
    files = list(seed.files().items())
    choose = random.Random(chance)
    streams = [wire.Stream(seed.address) for _ in range(8)]
    for _ in range(5):
        asked = []
        for s in streams:
            name, row = choose.choice(files)
            if row["size"] == 0:
                asked.append(None)
                continue
            off, size = choose.choice(lengths(row["size"]))
            s.send(wire.request(row["region"], off, size))
            asked.append((name, off, size))
        for s, what in zip(streams, asked):
            if what:
                name, off, size = what
                with open(plain.path / name, "rb") as f:
                    f.seek(off)
                    mounts.assert_same(s.answer()[3], f.read(size), name)
    mounts.wait_until(lambda: seed.metrics()["streams"] == 8, "eight streams")
    for s in streams:
        s.close()
    mounts.wait_until(lambda: seed.metrics()["streams"] == 0, "no streams")


def test_clients_that_are_killed_leave_nothing_behind(seed):
    row = max(seed.files().values(), key=lambda f: f["size"])
    held = seed.settled()
    for how in ("reset", "close", "half") * 10:
        s = wire.Stream(seed.address)
        s.send(wire.request(row["region"], 0, CHUNK) * 50)
        s.exactly(1000)
        if how == "reset":
            s.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              struct.pack("ii", 1, 0))
        if how == "half":
            s.sock.shutdown(socket.SHUT_RD)
        s.close()
    seed.wait_back_to(held)
    mounts.wait_until(lambda: seed.metrics()["streams"] == 0, "no streams")


def test_a_seed_that_ends_cuts_its_streams(seed):
    row = max(seed.files().values(), key=lambda f: f["size"])
    idle, busy = wire.Stream(seed.address), wire.Stream(seed.address)
    busy.send(wire.request(row["region"], 0, CHUNK) * 500)
    assert seed.terminate() == 0
    assert seeds.is_cut_off(idle.sock) and seeds.is_cut_off(busy.sock)
