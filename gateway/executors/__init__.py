"""Execution of models: inside the HTTP worker, or in processes of their own; one by one or in batches."""
