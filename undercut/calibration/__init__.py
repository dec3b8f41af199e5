"""How near the simulated cars are to recorded ones: open-loop replays of simtraces, and cars fitted to them."""
