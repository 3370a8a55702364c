"""Tests against real accounts, each skipped unless its variable says so. They cost a few cents and leave nothing."""
