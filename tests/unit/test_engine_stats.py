"""Reading a container's figures, and one sampler for all who watch."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from cgroups.cgroup import Cgroup
from cgroups.stats import parse
from minirund.engine.lifecycle import Status
from minirund.engine.stats import Reading, Sampler, because, device_name, host_cpus, host_time, interfaces, read

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1560      20    1    2    0     0          0         0     4200      40    3    4    0     0       0          0
"""  # noqa: E501
STAT = "cpu  10 0 5 1000 20 0 1 99 7 0\ncpu0 5 0 3 500 10 0 0 0 0 0\ncpu1 5 0 2 500 10 0 1 0 0 0\nintr 5 6\n"


def reading(moment: float, **texts: str) -> Reading:
    stats = parse({key.replace("_", "."): text for key, text in texts.items()})
    return Reading(int(moment * 1e9), moment, stats, 1, 0, 2, {})


def test_interfaces_are_counted_but_for_lo() -> None:
    assert interfaces(NET_DEV) == {
        "eth0": {
            "rx_bytes": 1560, "rx_packets": 20, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 4200, "tx_packets": 40, "tx_errors": 3, "tx_dropped": 4,
        }
    }  # fmt: skip
    assert interfaces("") == {}


def test_the_hosts_time_is_all_of_it() -> None:
    assert host_time(STAT) == 1036 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert host_cpus(STAT) == 2
    assert (host_time(""), host_cpus("")) == (0, 0)


def test_a_cgroup_without_controllers_is_read_for_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 7\nuser_usec 5\nsystem_usec 2\n")
    (tmp_path / "cgroup.procs").write_text("11\n12\n")
    found = read(Cgroup(str(tmp_path)), os.getpid(), True)
    assert found is not None
    assert found.stats.cpu.usage == 7
    assert found.processes == 2
    assert found.cpus == os.cpu_count()
    assert "lo" not in found.networks


def test_the_pids_controller_counts_threads_too(tmp_path: Path) -> None:
    (tmp_path / "pids.current").write_text("5\n")
    found = read(Cgroup(str(tmp_path)), 0, True)
    assert found is not None and found.processes == 5 and found.networks == {}


def test_a_container_that_has_gone_has_no_reading(tmp_path: Path) -> None:
    assert read(Cgroup(f"{tmp_path}/gone"), 1, True) is None


def test_a_device_without_a_name_keeps_its_number() -> None:
    assert device_name("4095:1") == "4095:1"


def test_what_it_waits_for_in_sentences() -> None:
    before = reading(10.0, cpu_stat="usage_usec 0\n")
    after = reading(12.0, cpu_stat="usage_usec 500000\n", pids_events="max 3\n", pids_max="9\n")
    assert because(Status.RUNNING, before, before, str) == ["waits for nothing: it used 0.00 CPUs"]
    assert because(Status.RUNNING, before, after, str) == [
        "could not make 3 processes or threads: its limit of 9",
        "since it was started: 3 processes or threads could not be made, at its limit of 9",
    ]
    assert because(Status.PAUSED, before, before, str) == ["is paused: unpause lets it go on"]


class Source:
    """Readings, numbered; counts how many were taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.broken = False

    async def take(self) -> Reading | None:
        if self.broken:
            raise OSError("the disk is gone")
        self.taken += 1
        return reading(float(self.taken))


async def first(sampler: Sampler, count: int) -> list[tuple[float, float]]:
    found = []
    async for before, after in sampler.readings():
        found.append((before.moment if before else 0.0, after.moment if after else 0.0))
        if len(found) == count:
            break
    return found


def test_watchers_share_the_readings_of_one_sampler() -> None:
    async def main() -> None:
        source = Source()
        sampler = Sampler(source.take, 0.02)
        many = await asyncio.gather(*(first(sampler, 3) for _ in range(50)))
        assert many == [[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]] * 50
        assert source.taken == 3
        assert (await first(sampler, 1))[0][1] >= 3.0  # a newcomer need not wait for the next
        sampler.stop()

    asyncio.run(main())


def test_a_slow_watcher_finds_the_newest_and_holds_nobody_up() -> None:
    async def main() -> None:
        source = Source()
        sampler = Sampler(source.take, 0.001)
        slow = sampler.readings()
        assert (await anext(slow))[1].moment == 1.0  # type: ignore[union-attr]
        await first(sampler, 20)
        taken = source.taken
        before, after = await anext(slow)
        assert before is not None and after is not None
        assert after.moment >= taken >= 20
        assert before.moment == after.moment - 1
        sampler.stop()

    asyncio.run(main())


def test_watchers_end_when_there_is_nothing_to_be_read() -> None:
    async def main() -> None:
        source = Source()
        sampler = Sampler(source.take, 0.001)
        readings = sampler.readings()
        await anext(readings)
        source.broken = True
        async for _ in readings:
            pass

    asyncio.run(main())
