"""luigid fails; jobs finish or end with the documented code, the next run succeeds, and nobody writes twice."""

from tests.components import require
from tests.failures.conftest import NEXT, SLOT, filled, imports, tasks
from tests.stack import free_port, get, pushgateway, until

WARNING = "does not answer; going on with the local scheduler"


def test_a_luigid_that_is_restarted_with_its_state_is_not_noticed(sandbox, jobs, waiting, scheduler):
    def restart(request):
        assert scheduler.stop() == 0
        scheduler.start()

    sandbox.on("POST", "/imports$", restart)

    job = jobs.run(SLOT, **scheduler.environment)

    assert job.process.returncode == 0, job.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1
    assert set(tasks(scheduler).values()) == {"DONE"}


def test_a_job_waits_for_a_luigid_that_is_away_for_a_while(sandbox, jobs, waiting, scheduler):
    sandbox.on("POST", "/imports$", lambda request: scheduler.stop())

    job = jobs.start(SLOT, **scheduler.environment)
    until(lambda: "Failed connecting to remote scheduler" in job.log(), "the job to miss luigid")
    scheduler.start()

    assert job.ended() == 0, job.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1


def test_a_luigid_that_lost_its_state_refuses_the_rest_and_the_next_run_does_it(sandbox, jobs, waiting, scheduler):
    def lose_state(request):
        scheduler.kill()
        scheduler.start()

    sandbox.on("GET", "/syncs/[0-9]+/data", lose_state)  # while the waiting records are read: most steps are to come

    job = jobs.run(SLOT, **scheduler.environment)

    assert job.process.returncode == 25, job.log()
    assert imports(sandbox) == 0 and not filled(sandbox, waiting)
    again = jobs.run(SLOT, **scheduler.environment)
    assert again.process.returncode == 0, again.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1


def test_a_luigid_that_stays_away_ends_the_job_after_the_running_step(sandbox, jobs, waiting, scheduler):
    sandbox.on("POST", "/imports$", lambda request: scheduler.kill())

    job = jobs.run(SLOT, **scheduler.environment)

    assert job.process.returncode == 40, job.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1
    again = jobs.run(SLOT, **scheduler.environment)
    assert again.process.returncode == 0, again.log()
    assert WARNING in again.log()
    assert imports(sandbox) == 1


def test_a_luigid_that_is_not_there_is_done_without_and_monitoring_hears_of_it(sandbox, jobs, waiting):
    require("prometheus-pushgateway")
    require("curl")
    with pushgateway() as gateway:
        nowhere = f"http://127.0.0.1:{free_port()}"

        job = jobs.run(SLOT, LUIGID_URL=nowhere, **gateway.environment)

        assert job.process.returncode == 0, job.log()
        assert filled(sandbox, waiting)
        assert WARNING in job.log()
        told = get(f"{gateway.url}/metrics").decode()
        assert 'scc_process_luigid_unreachable{instance="",job="scc",process="Enrichment"} 1' in told


def test_a_luigid_that_hangs_for_good_ends_the_job_and_a_run_without_it_does_the_rest(
    sandbox, jobs, waiting, scheduler
):
    sandbox.on("GET", "/syncs/[0-9]+/data", lambda request: scheduler.pause())

    job = jobs.run(SLOT, **scheduler.environment)

    assert job.process.returncode == 40, job.log()
    again = jobs.run(NEXT, **scheduler.environment)
    assert again.process.returncode == 0, again.log()
    assert WARNING in again.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1
