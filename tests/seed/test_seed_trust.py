# SPDX-License-Identifier: Apache-2.0
"""Who may ask: addresses, tokens, TLS and certificates of clients."""
import ssl
import subprocess

import mounts
import pytest
import seeds
import wire

TOKEN = "a-token.of_ours~123"


@pytest.fixture
def token_file(folder):
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def guarded(seeder, plain, token_file):
    return seeder("--token-file", token_file, m=plain)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_token_opens_every_route(guarded):
    guarded.token = TOKEN
    region = guarded.files()["config.json"]["region"]
    for path in ("/v1/models", "/v1/models/m/manifest", "/metrics",
                 f"/v1/regions/{region}"):
        assert guarded.ask(path).status == 200, path
    with wire.Stream(guarded.address, [f"Authorization: Bearer {TOKEN}"]) as s:
        assert s.status == 101


@pytest.mark.parametrize("headers", [
    {}, bearer("x"), bearer(TOKEN[:-1]), bearer(TOKEN + "x"), bearer(""),
    bearer(TOKEN.upper()), {"Authorization": TOKEN},
    {"Authorization": f"Basic {TOKEN}"}, bearer("x" * 5000),
], ids=range(9))
def test_without_the_token_there_is_nothing(guarded, headers):
    for path in ("/v1/models", "/v1/models/m/manifest", "/metrics",
                 "/v1/regions/" + "0" * 32, "/v1/events", "/nothing"):
        got = guarded.ask(path, headers=headers)
        assert got.status == 401, path
        assert got.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in got.error
    assert guarded.ask("/healthz", headers=headers).body == b"ok\n"
    lines = [f"{k}: {v}" for k, v in headers.items()]
    with wire.Stream(guarded.address, lines) as s:
        assert s.status == 401


def test_the_token_is_not_in_the_log(guarded):
    guarded.token = TOKEN
    guarded.models()
    guarded.ask("/v1/models", headers=bearer("wrong"))
    assert TOKEN not in guarded.log()
    assert "/token" in " ".join(guarded.command)


@pytest.mark.parametrize("text", ["", "\n", "two words\n", "a\nb\n", "ü\n",
                                  "x" * 5000])
def test_a_token_file_holds_one_line(seeder, plain, folder, text):
    (folder / "bad").write_text(text)
    seed = seeder("--token-file", folder / "bad", m=plain, ready=False)
    assert seed.process.wait(seeds.DEADLINE) == 1
    seed.expect_rc = 1
    assert "token file" in seed.log() and "/bad'" in seed.log()


def test_other_machines_need_a_token_or_the_word(seeder, plain, token_file):
    seed = seeder(m=plain, address="0.0.0.0:0", ready=False)
    assert seed.process.wait(seeds.DEADLINE) == 1
    seed.expect_rc = 1
    assert "can be reached from other machines" in seed.log()
    assert "token_file" in seed.log()
    aloud = seeder("--insecure", m=plain, address="0.0.0.0:0")
    assert aloud.models() and "warn" in aloud.log()
    seeder("--token-file", token_file, m=plain, address=":0")


def test_an_address_in_use_is_told(seeder, seed, plain):
    other = seeder(m=plain, address=f"127.0.0.1:{seed.address[1]}",
                   ready=False)
    assert other.process.wait(seeds.DEADLINE) == 1
    other.expect_rc = 1
    assert "cannot listen on" in other.log()
    assert "in use" in other.log()


def test_ipv6_is_served(seeder, plain):
    try:
        seed = seeder(m=plain, address="[::1]:0")
    except AssertionError:
        pytest.skip("no IPv6 here")
    assert seed.address[0] == "::1" and seed.models()


@pytest.fixture
def ca(folder):
    return seeds.authority(folder)


@pytest.fixture
def tls(seeder, plain, folder, ca):
    cert, key = seeds.certificate(folder, "server")

    def start(*args):
        seed = seeder("--tls-cert", cert, "--tls-key", key, *args, m=plain)
        seed.context = seeds.trusting(ca)
        return seed
    return start


def test_everything_works_over_tls(tls, plain, ca):
    seed = tls()
    assert seed.scheme == "https"
    row = max(seed.files().items(), key=lambda f: f[1]["size"])
    name, region, size = row[0], row[1]["region"], row[1]["size"]
    data = (plain.path / name).read_bytes()
    mounts.assert_same(seed.ask(f"/v1/regions/{region}").body, data, name)
    mounts.assert_same(
        seed.curl("--cacert", str(ca), "-r", "5-1000004",
                  f"{seed.url}/v1/regions/{region}"),
        data[5:1000005], "range")
    with wire.Stream(seed.address, context=seed.context) as s:
        assert s.status == 101
        for off in range(0, size, wire.CHUNK):
            part = data[off:off + wire.CHUNK]
            _, status, digest, got = s.read(region, off, len(part))
            assert status == wire.OK and digest == seeds.xxh3_of(part).hex()
            mounts.assert_same(got, part, f"at {off}")


def test_killed_clients_of_tls_leave_nothing_behind(tls):
    seed = tls()
    row = max(seed.files().values(), key=lambda f: f["size"])
    held = seed.settled()
    for _ in range(10):
        s = wire.Stream(seed.address, context=seed.context)
        s.send(wire.request(row["region"], 0, wire.CHUNK) * 50)
        s.exactly(1000)
        s.close()
    seed.wait_back_to(held)


def test_plain_http_to_a_tls_port_gets_nothing(tls):
    seed = tls()
    with seed.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert seeds.is_cut_off(sock)
    assert seed.ask("/healthz").status == 200


def test_a_client_must_bring_its_certificate(tls, folder, ca):
    seed = tls("--tls-client-ca", ca)
    got = seed.ask("/v1/models")
    assert got.status == 401 and "certificate" in got.error
    seed.context = seeds.trusting(ca, *seeds.certificate(folder, "client"))
    assert seed.models()
    with wire.Stream(seed.address, context=seed.context) as s:
        assert s.status == 101
    seeds.authority(folder, "stranger")
    seed.context = seeds.trusting(
        ca, *seeds.certificate(folder, "other", "stranger"))
    try:
        assert seed.ask("/v1/models").status == 401
    except (ssl.SSLError, ConnectionError):
        pass  # refused in the handshake already


@pytest.mark.parametrize("args, word", [
    (["--tls-cert", "server.pem"], "tls_key"),
    (["--tls-key", "server.key"], "tls_cert"),
    (["--tls-client-ca", "ca.pem"], "tls_client_ca needs TLS"),
    (["--tls-cert", "nothing.pem", "--tls-key", "server.key"], "nothing.pem"),
    (["--tls-cert", "server.key", "--tls-key", "server.pem"], "PEM"),
], ids=range(5))
def test_what_tls_lacks_is_told(seeder, plain, folder, ca, args, word):
    seeds.certificate(folder, "server")
    args = [a if a.startswith("--") else folder / a for a in args]
    seed = seeder(*args, m=plain, ready=False)
    assert seed.process.wait(seeds.DEADLINE) == 1
    seed.expect_rc = 1
    assert word in seed.log()


def test_a_daemon_tells_why_it_did_not_start(folder, plain):
    done = subprocess.run(
        [mounts.PROGRAM, "seed", "--model", f"m={plain.path}", "--listen",
         "192.0.2.1:7420", "--digest-cache", folder / "digests"],
        capture_output=True, text=True, timeout=seeds.DEADLINE,
        env=mounts.environment(folder), check=False)
    assert done.returncode == 1
    assert "cannot listen on '192.0.2.1:7420'" in done.stderr


def test_usage_is_told(folder, plain):
    def run(*args):
        done = subprocess.run([mounts.PROGRAM, "seed", *args],
                              capture_output=True, text=True, check=False,
                              env=mounts.environment(folder))
        return done.returncode, done.stdout + done.stderr
    rc, text = run("--help")
    assert rc == 0 and "--listen" in text and "--arena-size" not in text
    assert run()[0] == 2 and "nothing to seed" in run()[1]
    assert run("/mnt")[0] == 2
    assert run("--model", f"m={plain.path}", "--serve", ":1")[0] == 2
    rc, text = run("--model", f"m={plain.path}", "-o", "arena_size=1G")
    assert rc == 2 and "is not one of a seed" in text
