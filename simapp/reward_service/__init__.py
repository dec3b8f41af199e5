"""Rewards by a program in any language, or by an AWS Lambda function: docs/rewards.md has the protocol."""
