"""What diagnostics cost, and whether heat maps tell the truth: python -m tests.bench.bench_debugging [--run NAME]"""

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import spearmanr

from contract.hyperparameters import Hyperparameters
from contract.protocols import Phase, RolloutOrder
from contract.runtime import quiet_import
from tests.bench.record import write_result
from tests.stock_coach import episode, metadata
from trainer.agents import CoachAgent
from trainer.checkpoints import Checkpoints
from trainer.common.export import HEAD
from trainer.common.saliency import Saliency
from trainer.ppo.agent import minibatches
from undercut.backends.local.rollouts import evaluation_laps
from undercut.runs.run import Run
from undercut.runs.sessions import checkpoint

METHOD = (
    "cost: CPU seconds of a PPO epoch on 800 transitions with diagnostics over one without, in pairs of alternating "
    "order, median; an update reads them in its last epoch only. Heat maps (--run): Spearman's rank correlation "
    "between the mean heat of 16 x 16 patches, 8 pixels apart, and the absolute change of log p / (1 - p) of the "
    "likeliest action when a patch is replaced by its surroundings' mean, 24 frames of an evaluation lap; mean over "
    "the frames"
)
PATCH, PITCH, FRAMES = 16, 8, 24


def diagnostics_cost(pairs: int) -> float:
    """CPU time of an epoch with diagnostics, over one without."""
    agent = CoachAgent(metadata(), Hyperparameters(), seed=1)

    data = agent._dataset([episode(i, 50, metadata()) for i in range(16)])
    rng = np.random.default_rng(0)

    def seconds(diagnosed: bool) -> float:
        batches = minibatches(rng.permutation(len(data)), 64)
        start = time.process_time()
        agent._ppo.epoch(data, batches, "bench", diagnosed=diagnosed)
        return time.process_time() - start

    for diagnosed in (True, False):
        seconds(diagnosed)
    ratios = []
    for i in range(pairs):
        took = {diagnosed: seconds(diagnosed) for diagnosed in ((True, False) if i % 2 else (False, True))}
        ratios.append(took[True] / took[False])
    return statistics.median(ratios)


def truth_of_maps(run: Run) -> dict[str, float]:
    """Rank correlation with occlusion of our maps and of Grad-CAM's, of a run with one camera and discrete actions."""
    name, record = run.files.metadata.camera, checkpoint(run, "best")
    pb = Checkpoints(run.store).load_policy(record)
    lap = evaluation_laps(run, pb, RolloutOrder(Phase.evaluation, record.iteration, 0, 1), keep_observations=True)[0]
    seen = {key: values[np.linspace(0, len(lap) - 1, FRAMES).astype(int)] for key, values in lap.observations.items()}
    saliency = Saliency(pb, run.files.metadata)
    told = saliency.maps(seen)

    def log_odds(observations: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        chosen = saliency.maps(observations, told.chosen).outputs[np.arange(FRAMES), told.chosen]
        return np.asarray(np.log(chosen / (1.0 - chosen)))

    frames = seen[name].astype(np.float32)
    around = np.stack([ndimage.uniform_filter(frame[..., 0], 31) for frame in frames])[..., None]
    corners = [(y, x) for y in range(0, 120 - PATCH + 1, PITCH) for x in range(0, 160 - PATCH + 1, PITCH)]
    before, changes = log_odds(seen), []
    for y, x in corners:
        covered = frames.copy()
        covered[:, y : y + PATCH, x : x + PATCH] = around[:, y : y + PATCH, x : x + PATCH]
        changes.append(np.abs(log_odds({**seen, name: covered}) - before))

    def correlation(maps: NDArray[Any]) -> float:
        hot = np.array([maps[:, y : y + PATCH, x : x + PATCH].mean(axis=(1, 2)) for y, x in corners])
        change = np.array(changes)
        return float(np.nanmean([spearmanr(hot[:, i], change[:, i]).statistic for i in range(FRAMES)]))

    return {"ours": correlation(told.maps), "grad_cam": correlation(grad_cam(pb, name, frames, told.chosen))}


def grad_cam(pb: bytes, name: str, frames: NDArray[Any], chosen: NDArray[np.int64]) -> NDArray[Any]:
    """(K, 120, 160) of the last convolution before `Flatten`, stretched over the frame as is usual."""
    tf = quiet_import("tensorflow")
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(pb), name="")
        network = HEAD.split("/network_")[0]
        policy = graph.get_tensor_by_name(f"{HEAD}/policy:0")
        layer = graph.get_tensor_by_name(f"{network}/network_1/{name}/Flatten:0").op.inputs[0]
        logit = tf.reduce_sum(policy.op.inputs[0] * tf.one_hot(chosen, policy.shape[-1]), axis=1)
        weights = tf.reduce_mean(tf.gradients(logit, layer)[0], axis=[1, 2], keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * layer, axis=3))
        found = session.run(heat, {graph.get_tensor_by_name(f"{network}/network_0/{name}/{name}:0"): frames})
    return np.stack([ndimage.zoom(one, (120 / one.shape[0], 160 / one.shape[1]), order=1) for one in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--run", help="a trained run in runs/, for the heat maps")
    options = parser.parse_args()
    payload: dict[str, Any] = {"gauged_epoch_over_plain": diagnostics_cost(options.pairs)}
    if options.run:
        run = Run.open(options.run)
        race = f"{run.config.race.race_type} on {run.config.track}, {checkpoint(run, 'best').name}"
        payload |= {"run": race, "rank_correlation_with_occlusion": truth_of_maps(run)}
    print(json.dumps(payload, indent=1))
    write_result("debugging", payload, METHOD)


if __name__ == "__main__":
    main()
