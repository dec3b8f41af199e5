"""Pictures of tracks, laps and trainings, as PNG files."""
