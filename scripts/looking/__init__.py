"""Reports, videos, logs and what a policy looks at."""
