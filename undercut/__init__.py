"""Train AWS DeepRacer models on your own machine."""
