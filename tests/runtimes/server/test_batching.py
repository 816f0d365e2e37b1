"""The heart of the server, with a clock that stands still and a graph that remembers what it ran."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_lanes import GROUP, Clock, Recorder, ask, lane, run_all, window

from bert_onnx.errors import InferenceError
from runtimes.pipelines.encoding import Window
from runtimes.server.batching.scheduler import Scheduler
from runtimes.server.batching.work import Group, Ticket, Work
from runtimes.server.refusals import AbandonedError, ExpiredError, QueueFullError, TooLargeError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> Scheduler:
    return Scheduler(clock)


@pytest.fixture
def recorder(clock: Clock) -> Recorder:
    return Recorder(clock)


def values(work: Work) -> list[int]:
    return [int(result["out"]) for result in work.results]


def test_rows_of_several_requests_run_together(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder)
    works = [ask(scheduler, model, {name: 10}, client=str(name)) for name in range(1, 6)]
    assert scheduler.step()
    assert recorder.batches == [[1, 2, 3, 4, 5]]
    assert [values(work) for work in works] == [[10], [20], [30], [40], [50]]
    assert not scheduler.step()


def test_the_budget_counts_tokens_where_the_graph_does_not_pad(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=100, pads=False)
    ask(scheduler, model, {1: 40, 2: 20, 3: 20, 4: 20, 5: 20})
    run_all(scheduler)
    assert recorder.shapes == [[40, 20, 20, 20], [20]]


def test_the_budget_counts_padding_where_the_graph_pads(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=100, pads=True)
    ask(scheduler, model, {1: 40, 2: 20, 3: 20, 4: 20, 5: 20})
    run_all(scheduler)
    assert recorder.shapes == [[40, 20], [20, 20, 20]]


def test_attention_is_padded_in_every_graph(scheduler: Scheduler, recorder: Recorder) -> None:
    """40 rows of 2 tokens beside one of 60 would be 2,460 places of attention."""
    model = lane(scheduler, recorder, tokens=150, pads=False)
    ask(scheduler, model, {1: 60, **dict.fromkeys(range(2, 42), 2)})
    scheduler.step()
    assert len(recorder.shapes[0]) * 60 <= 4 * 150


def test_rows_of_like_length_run_together(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=2000, enough=60)
    for name, length in enumerate((20, 40, 22, 39, 18, 41), 1):
        ask(scheduler, model, {name: length}, client=str(name))
    run_all(scheduler)
    assert recorder.batches == [[1, 3, 5], [2, 4], [6]]


def test_where_few_are_alike_the_nearest_run_beside_them(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=2000, enough=60)
    for name, length in enumerate((20, 55, 8, 30), 1):
        ask(scheduler, model, {name: length}, client=str(name))
    run_all(scheduler)
    assert recorder.batches == [[1, 4, 3, 2]]
    ask(scheduler, model, {1: 10})
    ask(scheduler, model, {2: 100})  # too long to run beside it
    run_all(scheduler)
    assert recorder.batches[1:] == [[1], [2]]


def test_a_batch_ends_with_enough_tokens(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=2000, enough=30)
    ask(scheduler, model, dict.fromkeys(range(1, 8), 10))
    run_all(scheduler)
    assert recorder.shapes == [[10, 10, 10], [10, 10, 10], [10]]


def test_what_was_passed_over_comes_first_next_time(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=2000, enough=40)
    for name, length in enumerate((20, 90, 20, 20), 1):
        ask(scheduler, model, {name: length}, client=str(name))
    scheduler.step()
    assert recorder.batches == [[1, 3]]
    ask(scheduler, model, {5: 20}, client="5")
    scheduler.step()
    assert recorder.batches[1][0] == 2


def test_a_row_longer_than_the_budget_runs_alone(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=100)
    ask(scheduler, model, {1: 500, 2: 10})
    run_all(scheduler)
    assert recorder.shapes == [[500], [10]]


def test_a_short_text_does_not_wait_for_a_long_one(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=2000)
    ask(scheduler, model, {1: 500})
    ask(scheduler, model, {2: 10})
    run_all(scheduler)
    assert recorder.batches == [[2], [1]]


def test_a_long_text_is_not_starved_by_short_ones(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=20)
    ask(scheduler, model, {1: 100})
    for name in range(2, 60):
        ask(scheduler, model, {name: 10})
        scheduler.step()
        if [1] in recorder.batches:
            break
    assert name < 20


def test_a_client_of_one_text_does_not_wait_for_one_of_a_thousand(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=100)
    ask(scheduler, model, dict.fromkeys(range(1000), 10), client="bulk")
    scheduler.step()
    ask(scheduler, model, {5000: 10}, client="single")
    scheduler.step()
    assert 5000 in recorder.batches[1]


def test_a_thousand_requests_of_one_client_do_not_shut_out_another(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=100)
    for name in range(1000):
        ask(scheduler, model, {name: 10}, client="bulk")
    scheduler.step()
    ask(scheduler, model, {5000: 10}, client="single")
    scheduler.step()
    assert 5000 in recorder.batches[1]


def test_a_small_request_of_the_same_client_goes_before_the_rest_of_a_large_one(
    scheduler: Scheduler, recorder: Recorder
) -> None:
    model = lane(scheduler, recorder, tokens=100)
    ask(scheduler, model, dict.fromkeys(range(1000), 10))
    scheduler.step()
    ask(scheduler, model, {5000: 10})
    scheduler.step()
    assert 5000 in recorder.batches[1]


def test_a_new_client_waits_for_few_of_the_rows_that_were_passed_over(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=1000)
    ask(scheduler, model, {1: 10, **dict.fromkeys(range(2, 200), 400)}, client="bulk")
    scheduler.step()  # the short row alone; long ones were passed over
    assert recorder.batches == [[1]]
    ask(scheduler, model, {5000: 10}, client="single")
    while not any(5000 in batch for batch in recorder.batches):
        scheduler.step()
    assert sum(len(batch) for batch in recorder.batches) <= 20


def test_expired_rows_are_never_run(scheduler: Scheduler, recorder: Recorder, clock: Clock) -> None:
    model = lane(scheduler, recorder)
    late = ask(scheduler, model, {1: 10, 2: 10}, within=5.0)
    kept = ask(scheduler, model, {3: 10}, within=50.0)
    clock.now += 5.0
    run_all(scheduler)
    assert recorder.batches == [[3]]
    assert isinstance(late.error, ExpiredError)
    assert values(kept) == [30]
    assert recorder.drops == [(2, "expired")]
    assert model.ledger.tokens == 0


def test_abandoned_rows_are_never_run(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder)
    gone = ask(scheduler, model, {1: 10, 2: 10})
    kept = ask(scheduler, model, {3: 10})
    scheduler.cancel(model, gone.ticket, AbandonedError("gone"))
    run_all(scheduler)
    assert recorder.batches == [[3]]
    assert isinstance(gone.error, AbandonedError)
    assert values(kept) == [30]
    with pytest.raises(AbandonedError):  # and nothing more of it is taken
        scheduler.submit(model, Work(gone.ticket, GROUP, [window(4, 10)]))
    assert model.ledger.tokens == 0
    assert model.rows == 0


def test_what_is_abandoned_while_it_runs_is_left_alone(scheduler: Scheduler, clock: Clock) -> None:
    def leave(windows: list[Window]) -> None:
        scheduler.cancel(model, gone.ticket, AbandonedError("gone"))

    settled: list[Work] = []
    model = lane(scheduler, Recorder(clock, leave))
    gone = Work(Ticket("c", 1e9), GROUP, [window(1, 10)], settled.append)
    scheduler.submit(model, gone)
    run_all(scheduler)
    assert settled == [gone]  # told once
    assert isinstance(gone.error, AbandonedError)
    assert model.ledger.tokens == 0


def test_many_abandoned_rows_are_swept_out(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, limit=10_000_000)
    kept = ask(scheduler, model, {1: 10})
    for _ in range(5):
        gone = ask(scheduler, model, dict.fromkeys(range(2, 1000), 10))
        scheduler.cancel(model, gone.ticket, AbandonedError("gone"))
    assert sum(len(client.rows) for client in model.queue._queue._clients.values()) < 1100
    run_all(scheduler)
    assert recorder.batches == [[1]]
    assert values(kept) == [10]


def test_one_rows_fault_does_not_fail_its_batch_mates(scheduler: Scheduler, clock: Clock) -> None:
    def poison(windows: list[Window]) -> None:
        if any(window.ids[0] == 4 for window in windows):
            raise InferenceError("nan")

    recorder = Recorder(clock, poison)
    model = lane(scheduler, recorder)
    works = [ask(scheduler, model, {name: 10}, client=str(name)) for name in range(1, 9)]
    run_all(scheduler)
    for name, work in enumerate(works, 1):
        if name == 4:
            assert str(work.error) == "nan"
        else:
            assert work.error is None
            assert values(work) == [name * 10]
    assert len(recorder.faults) == 1
    assert model.ledger.tokens <= 10  # of the failed one, until its request ends


def test_a_request_with_a_faulty_row_runs_no_further(scheduler: Scheduler, clock: Clock) -> None:
    def poison(windows: list[Window]) -> None:
        if any(window.ids[0] == 1 for window in windows):
            raise InferenceError("nan")

    recorder = Recorder(clock, poison)
    model = lane(scheduler, recorder, tokens=10)
    work = ask(scheduler, model, {1: 10, 2: 10, 3: 10})
    run_all(scheduler)
    assert str(work.error) == "nan"
    assert recorder.batches == [[1]]


def test_memory_that_runs_out_halves_the_batch(scheduler: Scheduler, clock: Clock) -> None:
    def short(windows: list[Window]) -> None:
        if len(windows) > 2:
            raise InferenceError("model ran out of memory; use a smaller batch (x).")

    model = lane(scheduler, Recorder(clock, short))
    work = ask(scheduler, model, dict.fromkeys(range(1, 9), 10))
    run_all(scheduler)
    assert values(work) == [10, 20, 30, 40, 50, 60, 70, 80]


def test_other_outputs_are_another_batch(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder)
    ask(scheduler, model, {1: 10})
    ask(scheduler, model, {2: 10}, group=Group(("out",), (("prompt_length", 3),)))
    ask(scheduler, model, {3: 10})
    run_all(scheduler)
    assert recorder.batches == [[1, 3], [2]]


def test_models_share_the_machine_by_time(scheduler: Scheduler, clock: Clock) -> None:
    busy, quick = Recorder(clock), Recorder(clock)
    slow = lane(scheduler, busy, tokens=90, name="slow")
    fast = lane(scheduler, quick, tokens=10, name="fast")
    ask(scheduler, slow, dict.fromkeys(range(20), 90))
    ask(scheduler, fast, dict.fromkeys(range(20), 10))
    for _ in range(11):
        scheduler.step()
    assert len(busy.batches) == 2
    assert len(quick.batches) == 9


def test_a_model_does_not_save_up_time_while_it_has_nothing_to_do(scheduler: Scheduler, clock: Clock) -> None:
    first, second = Recorder(clock), Recorder(clock)
    busy, idle = lane(scheduler, first, tokens=10), lane(scheduler, second, tokens=10)
    ask(scheduler, busy, dict.fromkeys(range(50), 10))
    for _ in range(30):
        scheduler.step()
    ask(scheduler, idle, dict.fromkeys(range(50), 10))
    for _ in range(10):
        scheduler.step()
    assert 4 <= len(second.batches) <= 6


def test_a_full_queue_refuses_and_says_when_to_come_again(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, tokens=10, limit=80)
    ask(scheduler, model, {1: 10}, client="a")
    scheduler.step()  # a token takes a second
    for name in range(6):
        ask(scheduler, model, {name: 10}, client="a")
    with pytest.raises(QueueFullError) as refused:
        ask(scheduler, model, {9: 20}, client="a")
    assert refused.value.retry_after == 60
    run_all(scheduler)
    ask(scheduler, model, {9: 20}, client="a")


def test_one_client_alone_cannot_fill_the_queue(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, limit=80)
    for name in range(7):
        ask(scheduler, model, {name: 10}, client="bulk")
    with pytest.raises(QueueFullError):
        ask(scheduler, model, {8: 10}, client="bulk")
    ask(scheduler, model, {8: 10}, client="single")


def test_a_request_that_never_fits_is_too_large(scheduler: Scheduler, recorder: Recorder) -> None:
    model = lane(scheduler, recorder, limit=80)
    with pytest.raises(TooLargeError, match="71 tokens, and one may have 70"):
        ask(scheduler, model, {1: 71})
    with pytest.raises(TooLargeError):  # one input or many: the same rule
        ask(scheduler, model, dict.fromkeys(range(71), 1))
    ticket = Ticket("c", 1e9)
    scheduler.admit(model, ticket, 10)  # its texts were thought to be short
    with pytest.raises(TooLargeError):
        scheduler.submit(model, Work(ticket, GROUP, [window(1, 71)]))
    scheduler.release(model, ticket)
    assert model.ledger.tokens == 0


def test_the_computing_thread_runs_what_waits_and_stops(recorder: Recorder) -> None:
    scheduler = Scheduler()
    model = lane(scheduler, recorder)
    thread = threading.Thread(target=scheduler.work)
    thread.start()
    done = threading.Event()
    work = Work(Ticket("c", scheduler.clock() + 60), GROUP, [window(1, 10)], lambda work: done.set())
    scheduler.submit(model, work)
    assert done.wait(10)
    scheduler.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert values(work) == [10]


class _Steady(Recorder):
    """As a Recorder, but batches take no time."""

    def run(self, group: Group, windows: list[Window]) -> dict[str, np.ndarray]:
        self.shapes.append([len(window.ids) for window in windows])
        self.batches.append([window.ids[0] for window in windows])
        return {"out": np.array([window.ids[0] * 10 for window in windows])}


_REQUEST = st.tuples(
    st.sampled_from("abc"),  # client
    st.lists(st.integers(1, 200), min_size=1, max_size=12),  # lengths
    st.sampled_from(["stays", "leaves", "expires"]),
    st.integers(0, 3),  # batches that run before the next request
)


@given(st.lists(_REQUEST, max_size=25), st.booleans(), st.sampled_from([16, 128, 512]))
def test_every_row_is_run_once_or_never(requests: list, pads: bool, tokens: int) -> None:
    """Whatever comes in whatever order: who stays gets its own results, who leaves costs nothing afterwards, no batch
    exceeds the budget, and nothing is counted in the end."""
    clock = Clock()
    scheduler, recorder = Scheduler(clock), _Steady(clock)
    model = lane(scheduler, recorder, tokens=tokens, pads=pads)
    names = iter(range(1, 10_000))
    kept, left = [], []
    for client, lengths, fate, steps in requests:
        rows = {next(names): length for length in lengths}
        work = ask(scheduler, model, rows, client=client, within=0.0 if fate == "expires" else 1e9)
        if fate == "leaves":
            scheduler.cancel(model, work.ticket, AbandonedError("gone"))
        (kept if fate == "stays" else left).append((rows, work))
        for _ in range(steps):
            scheduler.step()
    run_all(scheduler)
    for rows, work in kept:
        assert values(work) == [name * 10 for name in rows]
    for _, work in left:
        assert isinstance(work.error, (AbandonedError, ExpiredError))
    ran = sorted(name for batch in recorder.batches for name in batch)
    assert ran == sorted(name for rows, _ in kept for name in rows)
    for shape in recorder.shapes:
        padded = len(shape) * max(shape)
        assert len(shape) == 1 or (padded if pads else sum(shape)) <= tokens
    assert model.ledger.tokens == 0
    assert model.rows == 0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_two_clients_get_the_same_while_both_wait(first: list[int], second: list[int]) -> None:
    """The tokens that they have got never differ by more than the longest row of each and a batch."""
    clock = Clock()
    scheduler, recorder = Scheduler(clock), _Steady(clock)
    model = lane(scheduler, recorder, tokens=1)  # a row a batch
    works = {}
    for client, lengths, base in (("a", first, 1), ("b", second, 1001)):
        works[client] = ask(scheduler, model, {base + i: length for i, length in enumerate(lengths)}, client=client)
    got = {"a": 0, "b": 0}
    while not any(work.is_over for work in works.values()):
        scheduler.step()
        name, length = recorder.batches[-1][0], recorder.shapes[-1][0]
        got["a" if name < 1000 else "b"] += length
        assert abs(got["a"] - got["b"]) <= max(first) + max(second)
