"""What machines and hosts take all the time: kept for thirty days, drawn as charts."""
