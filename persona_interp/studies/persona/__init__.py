"""The main job: extract persona vectors, steer with them, measure, report."""
