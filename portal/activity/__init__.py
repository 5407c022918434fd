"""Operations: what was asked, how far it is, how it ended."""
