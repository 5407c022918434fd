"""The tests' laboratory: real brokers, networks, hosts and guests, each of which takes itself away again."""
