"""Leagues: a folder or bucket of submitted models, driven by one set of rules and ranked on one page."""
