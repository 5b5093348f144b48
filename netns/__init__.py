"""netns: a container's network, from its namespace to the packet filter.

A container's network is a handful of kernel objects, each with a module of its own here:

    namespace.py   a network namespace, held as a file descriptor
    bridge.py      the switch that the containers of one network hang on
    veth.py        the cable between the two
    ipam.py        who has which address
    subnets.py     which subnet a new network can have
    pool.py        namespaces wired in advance, so that a start waits for nothing
    firewall.py    one nftables table: NAT out, published ports in, isolation between networks
    neighbours.py  other firewalls on the host, dockerd's above all
    resolv.py      what goes into /etc/resolv.conf and /etc/hosts

Below them: netlink.py talks to the kernel, messages.py encodes what it says, nft.py binds libnftables, syscalls.py
has the two system calls. Calls are synchronous and short (under a millisecond or two); nothing here forks. Every
call acts in the network namespace of the calling thread. Nothing is imported here: import the module you use.
"""
