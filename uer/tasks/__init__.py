"""Downstream tasks: one file a task, from the columns of its file to the rows it writes."""
