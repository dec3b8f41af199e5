"""The live view: a web page of runs and races, their cars on the track, what they see, curves and lap tables."""
