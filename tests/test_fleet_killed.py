"""Workers, scheduler and client of a fleet are killed at random moments: each job is there once, and no orphan runs."""

import itertools
import os
import random
import time

import psutil
import pytest
from fleets import PRODUCTS, Cluster, environment, kept, left_behind, running, spans, start_fleet, wait_for, write_plan

pytestmark = pytest.mark.fleet
KILLS = int(os.environ.get("GANBENCH_FLEET_KILLS", "2"))  # of workers; the others a fifth as often


def kill_worker(cluster):
    """Kill a process that works, or the one that watches over it."""
    chosen = random.choice(cluster.workers)
    below = [one for one in psutil.Process(chosen.pid).children() if "spawn_main" in " ".join(one.cmdline())]
    random.choice([*below, psutil.Process(chosen.pid)]).kill()


def supervise(cluster):
    """Start again whoever is gone, as those do who run a cluster."""
    if cluster.scheduler.poll() is not None:
        cluster.start_scheduler()
    for dead in [one for one in cluster.workers if one.poll() is not None]:
        cluster.workers.remove(dead)
        cluster.start_worker()


@pytest.mark.timeout(1500)
def test_whoever_is_killed_every_job_is_there_once(tmp_path):
    env, results = environment(tmp_path), tmp_path / "results"
    sizes = 14 if KILLS > 5 else 4  # as many jobs as the kills last
    one = PRODUCTS.format(largest=1024 if KILLS > 5 else 128)
    plan = write_plan(tmp_path, one + one.replace("rounds = 1", "rounds = 2") * (KILLS > 5))
    kills = ["worker"] * KILLS + ["scheduler", "client"] * max(1, KILLS // 5)
    random.shuffle(kills)
    cluster = Cluster(env)
    try:
        supervise(cluster)
        for _ in range(2):
            cluster.start_worker()
        command = ("run", plan, *cluster.named, "--results", results)
        client = start_fleet(*command, env=env)
        for kill in kills:
            time.sleep(random.uniform(1, 5))
            supervise(cluster)
            if kill == "worker":
                kill_worker(cluster)
            else:
                (cluster.scheduler if kill == "scheduler" else client).kill()
                (cluster.scheduler if kill == "scheduler" else client).wait()
            supervise(cluster)
            if client.poll() is not None:
                client.communicate()
                client = start_fleet(*command, env=env)
        for _ in range(4):  # the last kill may have ended it, too
            wait_for(lambda client=client: supervise(cluster) or client.poll() is not None, 300)
            said = client.communicate()
            if client.returncode == 0:
                break
            supervise(cluster)
            client = start_fleet(*command, env=env)
        assert client.returncode == 0, said
        runs = kept(results)
        asked = {(head["spec"]["batch"], head["settings"]["rounds"]) for head, *_ in runs}
        assert len(runs) == len(asked) == sizes
        assert {end["type"] for *_, end in runs} == {"end"}
        assert all(one[1] <= other[0] + 0.02 for one, other in itertools.pairwise(spans(runs)))
        wait_for(lambda: running(tmp_path) == [], 15)
        assert left_behind(tmp_path) == []
    finally:
        cluster.stop()
