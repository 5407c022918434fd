"""Effects on the host, one thin place for each kind: processes, netlink, nftables, files, qemu's monitor."""
