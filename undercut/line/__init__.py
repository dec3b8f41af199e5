"""The racing line: the time-optimal lap of a car, and what racers make from it. See docs/racing-line.md."""
