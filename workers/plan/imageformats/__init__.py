"""What a disk image that a person brought says of itself, one file a format: bytes in, facts or a refusal in words out."""
