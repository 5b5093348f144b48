"""The text of cgroup files, as real kernels print it, becomes Stats."""

from cgroups.stats import FILES, Pressure, Share, parse

PSI = "some avg10=1.50 avg60=0.30 avg300=0.06 total=12345\nfull avg10=0.50 avg60=0.10 avg300=0.02 total=2345\n"
TEXTS = {
    "memory.current": "1048576\n",
    "memory.max": "67108864\n",
    "memory.high": "max\n",
    "memory.peak": "2097152\n",
    "memory.swap.current": "0\n",
    "memory.stat": "anon 4096\nfile 8192\ninactive_file 100\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "cpu.stat": "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 9\nnr_throttled 2\nthrottled_usec 77\n",
    "cpu.max": "50000 100000\n",
    "cpuset.cpus.effective": "0-2,5\n",
    "pids.current": "4\n",
    "pids.max": "max\n",
    "pids.events": "max 7\n",
    "io.stat": "8:16 \n8:0 rbytes=90112 wbytes=0 rios=22 wios=0 dbytes=0 dios=0\n253:0\n",
    "io.max": "8:0 rbps=max wbps=1048576 riops=max wiops=max\n",
    "cpu.pressure": PSI,
    "memory.pressure": PSI,
    "io.pressure": PSI,
}


def test_a_full_reading() -> None:
    stats = parse(TEXTS)
    assert set(TEXTS) == set(FILES)
    assert (stats.memory.current, stats.memory.limit, stats.memory.peak, stats.memory.swap) == (
        1048576,
        67108864,
        2097152,
        0,
    )
    assert stats.memory.stat["inactive_file"] == 100
    assert stats.memory.events["oom_kill"] == 1
    assert stats.cpu == (900, 600, 300, 9, 2, 77, 0.5, 4)
    assert stats.pids == (4, None, 7)
    assert stats.memory.high is None
    assert stats.io_limits == {"8:0": {"wbps": 1048576}}
    assert stats.io["8:0"] == {"rbytes": 90112, "wbytes": 0, "rios": 22, "wios": 0, "dbytes": 0, "dios": 0}
    assert stats.io["8:16"] == stats.io["253:0"] == {}
    assert stats.pressure["io"] == Pressure(Share(1.5, 0.3, 0.06, 12345), Share(0.5, 0.1, 0.02, 2345))


def test_without_controllers_the_kernel_still_counts_cpu_time() -> None:
    stats = parse({"cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"})
    assert stats.cpu == (5, 3, 2, 0, 0, 0, None, None)
    assert stats.memory.current is None
    assert not any((stats.memory.stat, stats.memory.events, stats.io, stats.pressure))
    assert stats.pids == (None, None, 0)


def test_an_older_kernels_cpu_pressure_has_no_full_line() -> None:
    some = PSI.splitlines()[0] + "\n"
    assert parse({"cpu.pressure": some}).pressure["cpu"].full.total == 0


def test_a_kernel_with_psi_off_prints_nothing() -> None:
    assert parse({"cpu.pressure": ""}).pressure == {}


def test_limits_that_are_none() -> None:
    assert parse({"cpu.max": "max 100000\n", "memory.high": "1048576\n"}).cpu.quota is None
    assert parse({"cpu.max": "150000 100000\n"}).cpu.quota == 1.5
    assert parse({"memory.high": "1048576\n"}).memory.high == 1048576
    assert parse({"cpuset.cpus.effective": "\n"}).cpu.cpus is None
    assert parse({"cpuset.cpus.effective": "3\n"}).cpu.cpus == 1
