# SPDX-License-Identifier: Apache-2.0
"""What seeds gave, as metrics of the mount that asked them."""
import contextlib

import mounts
import seeds as real
from test_remote import read_all, seeds_of


def url(seed):
    return f"http://127.0.0.1:{seed.address[1]}"


def of_seed(samples, seed, way=None):
    """{figure: value} of the samples of one seed."""
    labels = f'{{seed="{url(seed)}"' + (f',way="{way}"}}' if way else "}")
    return {name.removesuffix(labels).split("remote_")[1]: value
            for name, value in samples.items()
            if "remote_" in name and name.endswith(labels)}


def test_the_stats_of_a_mount_have_the_figures_of_its_seeds(mount, seeder,
                                                            model, plain):
    giving, idle = seeder(llama=model.path), seeder(other=plain.path)
    m = mount(args=("--seed", url(giving), "--seed", url(idle)))
    before = of_seed(m.stats(), giving, "tcp")
    read_all(m, model)
    stats = m.stats()
    after = of_seed(stats, giving, "tcp")
    row = seeds_of(m)[0]
    # Before that it was asked for headers alone; a late answer may follow.
    assert before["bytes_total"] < model.tensor_bytes
    assert model.tensor_bytes <= after["bytes_total"] <= row["bytes"]
    assert before["chunks_total"] < after["chunks_total"] <= row["chunks"]
    assert after["wrong_chunks_total"] == after["errors_total"] == 0
    assert after["hedges_total"] >= after["hedges_won_total"]
    assert {"connections", "bytes_per_second"} < set(after)
    assert of_seed(stats, giving)["up"] == 1
    assert of_seed(stats, giving)["quarantine_seconds"] == 0
    assert (of_seed(stats, idle, "tcp")["bytes_total"]
            == seeds_of(m)[1]["bytes"] < model.tensor_bytes)


def test_hydration_is_counted_while_it_goes_on(mount, seeder, model, folder):
    m = mount(args=("--seed", url(seeder(llama=model.path))))
    if not m.status()["passthrough"]["in_use"]:
        return  # nothing is hydrated
    assert m.stats()["weightfs_hydration_copied_bytes_total"] == 0
    done = mounts.run("warm", m.path / "llama" / "0", folder=folder)
    assert done.returncode == 0, done.stderr
    stats = m.stats()
    assert (stats["weightfs_hydration_copied_bytes_total"]
            >= stats["weightfs_hydrated_bytes_total"] >= model.tensor_bytes)
    assert stats["weightfs_hydration_queued_files"] == 0
    assert stats["weightfs_hydration_queued_bytes"] == 0


def test_a_wrong_chunk_and_its_quarantine_are_figures(mount, seeds, model):
    liar = seeds(llama=model.path)
    m = mount("passthrough=off", "seed_deadline=1", args=("--seed", liar.url))
    liar.faults.rotten = lambda path, off: True
    label = f'{{seed="{liar.url}"'

    def figures():
        """A read may fail before it has an answer, and be told of when the
        quarantine is over: the next one is longer."""
        with contextlib.suppress(OSError):
            (m.path / "llama" / "0" / next(iter(model.ranks["0"]))
             ).read_bytes()
        stats = m.stats()
        return [stats[name] for name in (
            f'weightfs_remote_wrong_chunks_total{label},way="tcp"}}',
            f"weightfs_remote_quarantine_seconds{label}}}")]
    mounts.wait_until(lambda: min(figures()) > 0, "both are told")


def test_what_is_lent_is_a_figure(mount, seeder, model):
    lender = seeder(lend=True, llama=model.path)
    m = mount(args=("--seed", url(lender)))
    read_all(m, model)
    row, figures = seeds_of(m)[0], of_seed(m.stats(), lender)
    assert figures["lent_bytes"] == row["lent_bytes"] > 0
    assert figures["lent_files"] == row["lent_files"] > 0


def test_a_mount_that_serves_shows_where_its_bytes_came_from(mount, seeder,
                                                             model, folder):
    giving = seeder(llama=model.path)
    m = mount("serve=127.0.0.1:0", f"digest_cache={folder}/digests",
              args=("--seed", url(giving)))
    serving = real.Seed.of(m)
    read_all(m, model)
    text = serving.ask("/metrics").body.decode()
    assert text.endswith("# EOF\n")
    # OpenMetrics: a counter's family is named without its samples' ending.
    assert "# TYPE weightfs_remote_bytes counter\n" in text
    assert "# TYPE weightfs_remote_up gauge\n" in text
    figures = of_seed(serving.metrics(), giving, "tcp")
    assert (model.tensor_bytes <= figures["bytes_total"]
            <= seeds_of(m)[0]["bytes"])
    typed = [line.split()[2] for line in text.splitlines()
             if line.startswith("# TYPE")]
    assert len(set(typed)) == len(typed)
    assert "# TYPE weightfs_remote_bytes_total counter\n" in m.control("stats")


def test_a_mount_of_nothing_remote_has_no_such_figures(mount, plain):
    m = mount(p=plain)
    assert not [s for s in m.stats() if "remote_" in s]
