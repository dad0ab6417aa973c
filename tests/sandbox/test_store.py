"""The store under the sandbox: what it keeps, and what it forgets."""

from concurrent.futures import ThreadPoolExecutor

from scc.sandbox.clock import Clock
from scc.sandbox.store import Store

ROWS = "SELECT 'a text that takes a place of its own ' || i AS t FROM range(2000) r(i)"


def test_tables_that_are_dropped_leave_nothing_while_another_thread_rests():
    """A thread that has asked and then waits for its next request held up DuckDB: memory grew with the requests."""
    store = Store(Clock())

    def kept():
        return store.value("SELECT sum(memory_usage_bytes) FROM duckdb_memory()")

    def make_and_drop():
        store.execute(f"CREATE TABLE made AS {ROWS}")
        store.execute("DROP TABLE made")

    with ThreadPoolExecutor(1) as other:
        assert other.submit(store.value, "SELECT i FROM range(5000) r(i)").result() == 0
        make_and_drop()
        before = kept()
        for _ in range(20):
            make_and_drop()

        assert kept() <= before
    store.close()
