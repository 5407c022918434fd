"""The privileged side of Offshoot: what runs as root on every host and makes it match what people asked for."""
