"""Training: one loop for everything, its optimisers, schedules, precision, checkpoints and reports."""
