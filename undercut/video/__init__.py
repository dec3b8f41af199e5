"""MP4s of laps."""
