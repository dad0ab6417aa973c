"""What an operator reads when a step fails, and how a run ends when it is told to."""

import logging
import re
import signal
from collections.abc import Callable

import pytest

from scc.errors import ConfigError
from scc.tasks import runtime
from tests.tasks.conftest import Command

FAILING = """
import datetime as dt
import logging
import luigi
from scc.errors import ConfigError, VolumeUnavailable
from scc.tasks.step import Process, Step

PERSON = "jane.doe@example.com"

class Mistaken(Step):
    def output(self):
        return self.document()
    def run(self):
        raise ConfigError("no custom object is named 'Registrations'")

class Broken(Step):
    def output(self):
        return self.document()
    def run(self):
        try:
            {}[PERSON]
        except KeyError as error:
            raise ValueError(f"cannot place 'Jane Doe' of {PERSON}") from error

class Unknown(Step):
    def output(self):
        return self.document()
    def complete(self):
        return super().complete()
    def run(self):
        pass

class Cut(Unknown):
    def output(self):
        raise VolumeUnavailable("the outputs volume does not answer (ENOTCONN)")

class Needy(Step):
    def output(self):
        return self.document()
    def requires(self):
        raise ConfigError("enrichment.toml is not valid TOML")

class Confused(Step):
    def complete(self):
        raise ValueError(f"no place for\\n{PERSON}\\n'Jane Doe'")

class Idle(Step):
    def output(self):
        return self.document()
    def run(self):
        pass

class Night(Process):
    def requires(self):
        return []

if __name__ == "__main__":
    slot = dt.datetime(2026, 11, 22, 6, 15)
    tasks = [kind(slot=slot) for kind in (Mistaken, Broken, Cut, Needy, Confused, Idle)]
    luigi.build(tasks, local_scheduler=True)
    logging.getLogger("jobs").info("the end")
    logging.getLogger("jobs").info("a word about %s and https://user:pa55@host/", PERSON)
    print("told luigid:", Broken(slot=slot).on_failure(ValueError(f"'Jane Doe' of {PERSON}")), flush=True)
"""


@pytest.fixture(scope="module")
def failing(commands: Callable[[str], Command]) -> Command:
    return commands(FAILING)


@pytest.fixture(scope="module")
def told(failing: Command) -> str:
    """What a run with every kind of failure prints."""
    return failing.start("night.py").communicate(timeout=60)[0]


def about(told: str, step: str) -> str:
    """The log records that name a step, with the lines that belong to them."""
    records = re.split(r"^(?=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ )", told, flags=re.MULTILINE)
    return "".join(record for record in records if f"{step}(" in record and "Execution Summary" not in record)


def test_what_the_operator_can_mend_is_one_sentence(told: str) -> None:
    assert "no custom object is named 'Registrations'" in about(told, "Mistaken")
    assert "Traceback" not in about(told, "Mistaken")


def test_a_mistake_in_the_code_shows_where_it_happened(told: str) -> None:
    assert "Traceback (most recent call last):" in about(told, "Broken")
    assert re.search(r'night\.py", line \d+, in run', about(told, "Broken"))
    assert "ValueError: cannot place '…' of (address)" in about(told, "Broken")


def test_a_step_that_makes_nothing_is_a_failure(told: str) -> None:
    assert "Task finished running, but complete() is still returning false" in about(told, "Idle")


def test_a_volume_that_does_not_answer_is_one_sentence(told: str) -> None:
    assert "the outputs volume does not answer (ENOTCONN)" in about(told, "Cut")
    assert "Traceback" not in about(told, "Cut")


def test_a_bad_file_is_one_sentence(told: str) -> None:
    assert "enrichment.toml is not valid TOML" in about(told, "Needy")
    assert "Traceback" not in about(told, "Needy")


def test_a_mistake_in_the_code_of_complete_shows_where_it_happened(told: str) -> None:
    assert re.search(r'night\.py", line \d+, in complete', about(told, "Confused"))


def test_no_failure_says_who_it_was_about(told: str) -> None:
    assert "told luigid: " in told
    # source lines are ours, and may be shown
    shown = "\n".join(line for line in told.splitlines() if "PERSON" not in line and "raise " not in line)
    for secret in ("jane.doe", "example.com", "Jane Doe"):
        assert secret not in shown


def test_log_lines_have_time_level_and_text(told: str) -> None:
    assert re.search(r"^2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    the end$", told, re.MULTILINE)


def test_no_log_line_holds_an_address(told: str) -> None:
    assert "a word about (address) and (address)" in told


def test_what_luigid_was_told_of_each_step_is_left_out(told: str) -> None:
    assert "Informed scheduler" not in told


def test_the_verdict_names_the_failure_that_matters_most(told: str, failing: Command) -> None:
    assert failing.verdict == "exit_code=78\nslack=settled\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [([], "requires the 'slot' parameter to be set"), (["--slot", "2031-01-31"], "'2031-01-31'")],
    ids=["missing", "of another form"],
)
def test_a_bad_option_is_one_sentence(failing: Command, options: list[str], sentence: str) -> None:
    run = failing.luigi("Night", *options)
    text = run.communicate(timeout=60)[0]

    assert run.returncode == 40
    assert sentence in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigError("the user 'Batch' is refused"), "the user 'Batch' is refused"),
        (KeyError("Jane Doe"), "KeyError: '…'"),
        (ValueError('"Jane" <jane@example.com> is no number'), "ValueError: '…' <(address)> is no number"),
        (RuntimeError(), "RuntimeError"),
        (AttributeError("'Fill' object has no attribute 'plan'"), "'Fill' object has no attribute 'plan'"),
    ],
)
def test_a_sentence_quotes_ourselves_and_nobody_else(error: Exception, sentence: str) -> None:
    assert runtime.sentence(error).endswith(sentence)


def test_a_logged_exception_keeps_its_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(runtime.Discreet())
    try:
        raise ConfigError("no such field")
    except ConfigError:
        logging.getLogger("jobs").exception("step %s failed", "Fill")

    assert "step Fill failed\nno such field" in caplog.text


PATIENT = """
import signal
from scc import outputs
from scc.tasks.step import Process, Step

class First(Step):
    priority = 10
    def output(self):
        return self.document()
    def run(self):
        with outputs.replacing(self.output().path) as temporary:
            temporary.write_text("half")
            print("working", flush=True)
            signal.pause()

class Second(Step):
    def output(self):
        return self.document()
    def run(self):
        self.output().write({})

class Night(Process):
    def requires(self):
        return [self.clone(First), self.clone(Second)]
"""


def test_a_run_that_is_told_to_end_fails_its_step_in_good_order_and_starts_no_other(
    commands: Callable[[str], Command],
) -> None:
    command = commands(PATIENT)
    run = command.luigi("Night", "--slot", "2026-11-22T0615")
    lines = iter(run.stdout.readline, "")
    assert any(line == "working\n" for line in lines)

    run.send_signal(signal.SIGTERM)
    rest = run.communicate(timeout=60)[0]

    assert run.returncode == 30
    assert re.search(r"failed +First\(", rest)
    assert "running   Second(" not in rest
    left = [path.name for path in (command.folder / "outputs" / "night").rglob("*") if path.is_file()]
    assert left == []
