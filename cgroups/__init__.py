"""cgroups: one cgroup v2 directory as an object. A library on the standard library alone; see `cgroups.cgroup`."""
