# SPDX-License-Identifier: Apache-2.0
"""A mount that is told to wait for its models, as at boot: it is there when
they are, and without them when the time is over."""
import mounts
from test_remote import models, read_all
from test_prefer import web
from web import Odd

__all__ = ["web"]
LONG = f"seed_wait={10 * mounts.DEADLINE}"


def test_a_mount_is_there_when_its_seed_is(mount, processes, model):
    gone = processes(llama=model.path)
    gone.kill()
    m = mount(LONG, "rescan=0.1", ready=False, args=("--seed", gone.url))
    mounts.wait_until(lambda: f"seed '{gone.url}' cannot be reached" in m.log(),
                      "it is asked in vain")
    processes(port=gone.port, llama=model.path)
    m.wait_ready()
    assert models(m) == ["llama"]
    read_all(m, model)


def test_a_mount_is_there_when_its_web_server_is(mount, web, model):
    server = web(Odd)
    asked = []

    def odd(handler, path):
        asked.append(path)
        return 503 if len(asked) < 3 else None
    server.http.odd = odd
    m = mount(LONG, args=("--model", f"llama={server.url}/model/"))
    assert models(m) == ["llama"] and len(asked) > 2
    read_all(m, model)


def test_when_the_time_is_over_the_mount_is_there_without(mount, processes,
                                                          model):
    gone = processes(llama=model.path)
    gone.kill()
    m = mount("seed_wait=1", "rescan=0.1",
              args=("--model", f"llama={gone.url}/v1/models/llama"))
    assert models(m) == []
    assert "model 'llama' is not there yet; it is waited for" in m.log()
    processes(port=gone.port, llama=model.path)
    mounts.wait_until(lambda: models(m) == ["llama"], "it comes")
    read_all(m, model)
