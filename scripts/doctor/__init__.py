"""What this machine lacks, and what to do."""
