"""The races of a run's training as its config describes them, and how their episodes begin."""

from dataclasses import dataclass, replace

from contract.config import RunConfig
from contract.protocols import Simulator
from simapp.race import Race, RaceRules, Reward
from simapp.road import Track
from simapp.starts import Start, conditioned, round_robin


@dataclass(frozen=True, slots=True)
class EpisodeSetup:
    """A race, and how its episodes begin."""

    race: Race
    start: Start


def episode_setups(
    config: RunConfig, simulator: Simulator, track: Track, rewards: list[Reward], worlds: int = 1
) -> list[EpisodeSetup]:
    """The race of the training episodes, one reward a car; two with ALTERNATE_DRIVING_DIRECTION, of even and of odd
    episodes. `track` is in the run's own direction; `worlds` is how many the run's episodes take turns in."""
    training, evaluation = config.training, config.evaluation
    rules = replace(
        RaceRules.of(evaluation, training.max_episode_steps, training.number_of_resets),
        off_track_penalty_s=training.off_track_penalty,
        collision_penalty_s=training.collision_penalty,
        reverse_penalty_s=None,
        immobilized_penalty_s=0.0,
    )
    ranges = config.randomization if config.enable_domain_randomization else None

    def scene(track: Track, is_reversed: bool) -> EpisodeSetup:
        reads_state = config.learning.reads_state
        race = Race(simulator, track, rules, rewards, is_reversed, config.race, with_state=reads_state)
        return EpisodeSetup(race, conditioned(race, ranges, round_robin(race, training, evaluation, worlds)))

    scenes = [scene(track, config.reverse_dir)]
    if training.alternate_driving_direction:
        scenes.append(scene(track.reversed(), not config.reverse_dir))
    return scenes
