"""A DeepRacer training by SageMaker's Python SDK with undercut's trainer image, as in a notebook of AWS's guidance.

    python3 -m venv sdk && sdk/bin/pip install "sagemaker>=2.257,<3"      # in an environment of its own
    undercut cloud up                            # bucket, role, registry
    sdk/bin/python docs/examples/sagemaker_estimator.py RUN IMAGE ROLE s3://BUCKET/PREFIX [INSTANCE_TYPE]

RUN is a run of this folder that `undercut push RUN --to s3://BUCKET/PREFIX` has brought there; IMAGE is in a registry.
`undercut cloud train RUN` does all of this with boto3 alone, and more: spare capacity, other machines, limits of cost.
"""

import sys

from sagemaker.estimator import Estimator

METRICS = [
    {"Name": "reward-training", "Regex": "^Training>.*Total reward=(.*?),"},
    {"Name": "ppo-surrogate-loss", "Regex": "^Policy training>.*Surrogate loss=(.*?),"},
    {"Name": "ppo-entropy", "Regex": "^Policy training>.*Entropy=(.*?),"},
    {"Name": "reward-testing", "Regex": "^Testing>.*Total reward=(.*?),"},
]


def main() -> None:
    run, image, role, store = sys.argv[1:5]
    instance_type = sys.argv[5] if len(sys.argv) > 5 else "ml.c6i.4xlarge"
    bucket, _, prefix = store.removeprefix("s3://").partition("/")
    estimator = Estimator(
        image_uri=image,
        role=role,
        instance_count=1,
        instance_type=instance_type,
        max_run=3600,
        base_job_name=f"undercut-{run}",
        output_path=f"{store}/jobs",
        metric_definitions=METRICS,
        environment={"UNDERCUT_STORE": store},
        # the run lies there already: its files, its run.json, and from a second job on its checkpoints
        hyperparameters={"s3_bucket": bucket, "s3_prefix": "/".join(filter(None, (prefix, "runs", run)))},
    )
    estimator.fit(wait=False)
    print(f"launched {estimator.latest_training_job.name}; undercut pull {run} --from {store} brings its files")


if __name__ == "__main__":
    main()
