"""The host's nftables rules on paper: two tables of ours, made of parts that come and go one by one. All pure."""
